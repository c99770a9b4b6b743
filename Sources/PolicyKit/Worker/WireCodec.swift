import NIOCore

struct WelcomeFacts { var frontend: String, connection: String, concurrency: Int, spool: String }
enum IncomingMessage {
    case welcome(WelcomeFacts)
    case reject(code: String, message: String, retry: Duration)
    case event(WirePicture)
    case notify(WirePicture)
    case cancel(Int64)
    case ping(Int64)
    case pong, drain
    case bye(code: String, message: String)
}
struct WirePicture: EventPicture, Sendable {
    var id: Int64, hook: Hook, key: String, attempt: Int, deadline: Duration
    func session() throws -> SessionSnapshot { .empty }
    func transaction() throws -> TransactionSnapshot? { nil }
    func recipients() throws -> [Recipient] { [] }
    func headers() throws -> [HeaderField] { [] }
    func trace() throws -> [TraceEntry] { [] }
    func notes(_ scope: NoteScope) throws -> [String: JSONValue] { [:] }
    func sender() throws -> Sender { .empty }
    func recipient() throws -> Recipient { .empty }
    func octets(_ argument: String) throws -> Bytes { "" }
    func value(_ argument: String) throws -> JSONValue? { nil }
}
struct WireCodec {
    func writeHello(_ service: WorkerService) {}
    func writeVerdict(
        _ id: Int64,
        _ hook: Hook,
        _ answer: Answer,
        _ plugin: String?,
        _ context: HookContext
    ) -> String? { nil }
    func writeError(
        _ id: Int64,
        _ code: ErrorCode,
        started: Bool,
        plugin: String?,
        _ message: String
    ) {}
    func writePong(_ number: Int64) {}
    func writeDrain(reason: String) {}
    func writeBye(_ code: String, _ message: String) {}
    mutating func receive(
        _ octets: UnsafeRawBufferPointer,
        _ body: (IncomingMessage) -> Void
    ) throws {}
    func takeOutput(_ allocator: ByteBufferAllocator) -> ByteBuffer? { nil }
}
