/// The plugins that a worker knows, by their names in `config/plugins`.
public struct PluginRegistry: Sendable {
    private var types: [String: any Plugin.Type] = [:]
    private let retired: [String: RetiredPlugin]

    /// A registry of `plugins`, each under its name and its aliases.
    ///
    /// - Parameters:
    ///   - plugins: What can be loaded.
    ///   - retired: Names that are explained; one that is a plugin's name or alias is not looked at.
    public init(_ plugins: [any Plugin.Type], retired: [RetiredPlugin] = []) {
        self.retired = Dictionary(retired.map { ($0.name, $0) }) { $1 }
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

    /// What became of a plugin of this name; `nil` if that is not known, or there is one.
    func retired(_ name: String) -> RetiredPlugin? {
        self.types[name] == nil ? self.retired[name] : nil
    }

    /// The plugin of this name or alias.
    public subscript(name: String) -> (any Plugin.Type)? { self.types[name] }
}
