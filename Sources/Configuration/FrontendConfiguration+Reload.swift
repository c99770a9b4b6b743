extension FrontendConfiguration {
    /// The configuration after SIGHUP.
    ///
    /// Sockets, folders and the names in their paths stay as they are until a restart; all other
    /// changes hold at once.
    ///
    /// - Parameter new: The configuration that was just loaded.
    /// - Returns: The new configuration, and the keys in the file whose change needs a restart.
    package func reloaded(with new: Self) -> (configuration: Self, waiting: [String]) {
        var merged = new
        var waiting: [String] = []
        func keep<Value: Equatable>(_ path: WritableKeyPath<Self, Value>, _ key: String) {
            if merged[keyPath: path] != self[keyPath: path] {
                waiting.append(key)
                merged[keyPath: path] = self[keyPath: path]
            }
        }
        keep(\.id, "id")
        keep(\.eventLoops, "event_loops")
        keep(\.user, "user")
        keep(\.coreDumps, "core_dumps")
        keep(\.runtimeDirectory, "runtime_directory")
        keep(\.spoolDirectory, "spool_directory")
        keep(\.controlDirectories, "control_directories")
        keep(\.logFormat, "log_format")
        keep(\.hangMS, "hang_ms")
        if new.listeners.map(\.address) != self.listeners.map(\.address) {
            waiting.append("listener")
        }
        merged.listeners = self.listeners.map { old in
            var listener = new.listeners.first { $0.address == old.address } ?? old
            if listener.backlog != old.backlog { waiting.append("listener \(old.name): backlog") }
            listener.backlog = old.backlog
            if listener.socketMode != old.socketMode {
                waiting.append("listener \(old.name): socket_mode")
            }
            listener.socketMode = old.socketMode
            return listener
        }
        if new.pools.map(\.name) != self.pools.map(\.name) {
            waiting.append("pool")
        }
        merged.pools = self.pools.map { old in
            var pool = new.pools.first { $0.name == old.name } ?? old
            if pool.groupID != old.groupID { waiting.append("pool \(old.name): group") }
            if pool.socketMode != old.socketMode { waiting.append("pool \(old.name): socket_mode") }
            (pool.groupID, pool.socketMode) = (old.groupID, old.socketMode)
            if pool.shadowOf != old.shadowOf { waiting.append("pool \(old.name): shadow_of") }
            if pool.canaryOf != old.canaryOf { waiting.append("pool \(old.name): canary_of") }
            (pool.shadowOf, pool.canaryOf) = (old.shadowOf, old.canaryOf)
            return pool
        }
        return (merged, waiting)
    }
}
