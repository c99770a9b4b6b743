import PolicyKit

extension PluginConfiguration {
    /// Takes arguments of qpsmtpd that say where a plugin keeps its state: that is `[store]` of `worker.toml` here.
    func ignoreOldStorage(_ names: String...) {
        for name in names where self.argument(name, as: .text) != nil {
            self.warn("\(name) has no effect: [store] of worker.toml says where state is kept")
        }
    }
}
