import Configuration
import JSON
import System

/// The connections to the frontends that have a socket in the pool's folder.
struct FrontendWatch {
    let folder: String
    let pool: String
    let signals: StopSignals
    /// By the path of the socket.
    private var observers: [String: StatusObserver] = [:]
    /// Paths whose current problem has been printed.
    private var reported: Set<String> = []

    init(folder: String, pool: String, signals: StopSignals) {
        self.folder = folder
        self.pool = pool
        self.signals = signals
    }

    /// Whether no frontend is connected.
    var isEmpty: Bool { self.observers.isEmpty }

    /// Dials the frontends that are not connected, and prints once why that fails.
    mutating func dial() {
        let paths = self.sockets()
        for path in paths where self.observers[path] == nil {
            do {
                self.observers[path] = try StatusObserver(
                    path: path,
                    pool: self.pool,
                    signals: self.signals
                )
                self.reported.remove(path)
            } catch {
                guard !self.signals.hasCome(seconds: 0) else { return }
                self.report(path, "\(error)")
            }
        }
        self.reported.formIntersection(paths)
    }

    /// Waits for the next `status` of each frontend, and calls `show` with it.
    ///
    /// - Returns: False if a connection was lost.
    mutating func next(show: (JSONValue) -> Void) -> Bool {
        var areAllWell = true
        for path in self.observers.keys.sorted() {
            do throws(StatusObserver.Failure) {
                guard let status = try self.observers[path]?.next() else { continue }
                show(status)
            } catch {
                guard !self.signals.hasCome(seconds: 0) else { return areAllWell }
                areAllWell = false
                self.observers.removeValue(forKey: path)?.end()
                self.report(path, "\(error)")
            }
        }
        return areAllWell
    }

    /// Says bye to each frontend and closes the connections.
    mutating func end() {
        for observer in self.observers.values { observer.end() }
        self.observers.removeAll()
    }

    private mutating func report(_ path: String, _ what: String) {
        guard self.reported.insert(path).inserted else { return }
        StandardError.write("\(path): \(what)")
    }

    /// The paths of the pool's sockets, one for each frontend, sorted.
    ///
    /// A frontend tells its `status` on its first socket; the others have an @ in their names.
    private func sockets() -> [String] {
        let names = (try? Folders.names(in: self.folder)) ?? []
        return names.filter { $0.hasSuffix(".sock") && !$0.contains("@") }.sorted()
            .map { "\(self.folder)/\($0)" }
    }
}
