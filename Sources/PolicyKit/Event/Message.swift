/// The message as it now is: the header fields with every edit so far, then the rest of the file.
///
/// There is no part of one: it is made of all header fields and the file, or not at all.
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

    init(headers: [HeaderField], file: MessageReference) {
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
