/// The plugins that a worker knows, by their names in `config/plugins`.
public struct PluginRegistry: Sendable {
    private var types: [String: any Plugin.Type] = [:]

    /// A registry of `plugins`, each under its name and its aliases.
    ///
    public init(_ plugins: [any Plugin.Type]) {
        for plugin in plugins {
            self.register(plugin)
        }
    }

    /// Adds a plugin under its name and its aliases; it replaces what had one of these names.
    public mutating func register(_ plugin: any Plugin.Type) {
        for name in [plugin.name] + plugin.aliases {
            self.types[name] = plugin
        }
    }

    /// Every name that can stand in `config/plugins`, sorted.
    public var names: [String] { self.types.keys.sorted() }

    /// The plugin of this name or alias.
    public subscript(name: String) -> (any Plugin.Type)? { self.types[name] }
}
