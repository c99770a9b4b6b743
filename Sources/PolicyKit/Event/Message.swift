package import System

/// The message as it now is: the header fields with every edit so far, then the rest of the file.
///
/// There is no part of one: it is made of all header fields and the file, or not at all. A message is
/// ``header`` and ``body``, one after the other; ``bytes(limit:)`` reads both at once.
///
/// A Sendable value: it may be passed to a child task or to ``withBlockingThread(_:)``. The file
/// exists until the plugin has answered.
public struct Message: Sendable {
    /// The header fields, each with its CRLF: what stands before ``bodyOffset`` is replaced by this.
    public let header: [UInt8]
    /// The spool file.
    public let path: String
    /// Where in the file the header ends.
    ///
    /// What follows, the empty line included, goes out as it is.
    public let bodyOffset: Int64
    /// The octets of the file.
    public let fileSize: Int64

    /// The octets of header and body.
    public var size: Int64 { Int64(self.header.count) + self.fileSize - self.bodyOffset }

    /// The octets after the header, the empty line included, as chunks that are read one by one.
    public var body: MessageBody {
        MessageBody(path: self.path, range: self.bodyOffset..<max(self.fileSize, self.bodyOffset))
    }

    /// Reads the whole message, header and body, if it has at most `limit` octets.
    ///
    /// ``size`` says before how many it has.
    ///
    /// - Throws: ``PluginError`` if the message is larger, or if its file cannot be read.
    public func bytes(limit: Int) async throws -> [UInt8] {
        guard self.size <= limit else {
            throw PluginError("the message has \(self.size) octets, more than \(limit)")
        }
        var octets = self.header
        octets.reserveCapacity(Int(self.size))
        for try await chunk in self.body { octets += chunk }
        return octets
    }

    /// A message that a file holds as it is, header and body.
    ///
    /// - Throws: Why the file cannot be looked at.
    package init(file path: String) throws(SystemError) {
        self.header = []
        self.path = path
        self.bodyOffset = 0
        self.fileSize = try Files.size(path)
    }

    package init(headers: [HeaderField], file: MessageReference) {
        var header: [UInt8] = []
        for field in headers {
            header += field.name.octets
            header += field.space.octets
            header.append(UInt8(ascii: ":"))
            header += field.value.octets
            header += [0x0D, 0x0A]
        }
        self.header = header
        self.path = file.path
        self.bodyOffset = file.bodyOffset
        self.fileSize = file.size
    }
}
