import System

/// The body of a message as chunks of octets, in order.
///
/// ```swift
/// for try await chunk in try event.message.body { hash.update(chunk) }
/// ```
///
/// Each chunk is read from the spool file when it is asked for, on a thread that may wait, so that a
/// message of any size takes the memory of one chunk. Each loop reads the body from its start. The
/// file exists until the plugin has answered.
public struct MessageBody: AsyncSequence, Sendable {
    /// The octets of a chunk; the last one may have fewer.
    public static let chunkOctets = 262_144

    let path: String
    let range: Range<Int64>

    /// Reads from the start.
    public func makeAsyncIterator() -> Iterator {
        Iterator(path: self.path, range: self.range)
    }

    /// Reads chunk after chunk.
    public struct Iterator: AsyncIteratorProtocol {
        private let path: String
        private var range: Range<Int64>
        private var file: BodyFile?

        init(path: String, range: Range<Int64>) {
            self.path = path
            self.range = range
        }

        /// The next chunk, at least one octet; `nil` at the end.
        ///
        /// - Throws: ``PluginError`` if the file cannot be read or is shorter than it should be;
        ///   `CancellationError` if the task is cancelled.
        public mutating func next() async throws -> [UInt8]? {
            guard !self.range.isEmpty else { return nil }
            let path = self.path
            let open = self.file
            let start = self.range.lowerBound
            let count = Swift.min(MessageBody.chunkOctets, self.range.count)
            let (file, chunk) = try await withBlockingThread {
                let file = try open ?? BodyFile(path)
                return (file, try file.read(from: start, count: count))
            }
            self.file = file
            self.range = start + Int64(count)..<self.range.upperBound
            return chunk
        }
    }
}

/// A spool file that is open for reading.
///
/// Its calls block. It is closed with the last reference.
private final class BodyFile: Sendable {
    private let path: String
    private let descriptor: Descriptor

    init(_ path: String) throws {
        self.path = path
        do throws(SystemError) {
            self.descriptor = try Descriptor(reading: path, followsLinks: false)
        } catch {
            throw PluginError(error)
        }
    }

    func read(from start: Int64, count: Int) throws -> [UInt8] {
        let octets: [UInt8]
        do throws(SystemError) {
            octets = try self.descriptor.read(count, at: start)
        } catch {
            throw PluginError(error)
        }
        guard octets.count == count else {
            throw PluginError("read \(self.path): the spool file is too short")
        }
        return octets
    }
}

extension PluginError {
    fileprivate init(_ error: SystemError) {
        self.init("\(error.call) \(error.subject): \(error.reason)")
    }
}
