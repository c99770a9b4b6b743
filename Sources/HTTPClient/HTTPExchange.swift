import NIOCore
import NIOHTTP1

/// Puts an answer together from the parts that the codec finds.
struct HTTPAnswerReader {
    /// The most octets of the content.
    private let limit: Int
    /// Whether the request was `HEAD`: the answer says how long its content would be, and has none.
    private let isBare: Bool
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []

    /// A reader of one answer.
    init(limit: Int, isBare: Bool = false) {
        self.limit = limit
        self.isBare = isBare
    }

    /// Whether anything of the answer has come.
    var hasBegun: Bool { self.head != nil }

    /// Whether the server lets the connection live.
    var keepsConnection: Bool { self.head?.isKeepAlive ?? false }

    /// Takes a part.
    ///
    /// - Returns: The answer, if it is complete.
    mutating func take(_ part: HTTPClientResponsePart) throws(HTTPFailure) -> HTTPAnswer? {
        switch part {
        case .head(let head):
            guard head.status.code >= 200 else {
                throw HTTPFailure(.malformed, "the server wants to speak another protocol")
            }
            self.head = head
            let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
            if length > self.limit, !self.isBare { throw self.tooLong }
            return nil

        case .body(let octets):
            guard octets.readableBytes <= self.limit - self.body.count else { throw self.tooLong }
            self.body += octets.readableBytesView
            return nil

        case .end:
            guard let head = self.head else {
                throw HTTPFailure(.malformed, "an answer without a status")
            }
            return HTTPAnswer(
                status: Int(head.status.code),
                fields: head.headers.map { HTTPField($0.name, $0.value) },
                body: self.body
            )
        }
    }

    private var tooLong: HTTPFailure {
        HTTPFailure(.tooLong, "the answer has more than \(self.limit) octets")
    }
}

/// A request and what has come of its answer.
///
/// Confined to the worker's event loop once it has started.
final class HTTPExchange {
    let request: HTTPRequest
    let deadline: NIODeadline
    var reader: HTTPAnswerReader
    /// The connection that carries it, as long as it is not over.
    var connection: HTTPConnection?
    private let host: String
    private var promise: EventLoopPromise<HTTPAnswer>?
    private var timer: Scheduled<Void>?

    init(
        _ request: HTTPRequest,
        host: String,
        limit: Int,
        deadline: NIODeadline,
        promise: EventLoopPromise<HTTPAnswer>
    ) {
        self.request = request
        self.host = host
        self.reader = HTTPAnswerReader(limit: limit, isBare: request.method == "HEAD")
        self.deadline = deadline
        self.promise = promise
    }

    var isOver: Bool { self.promise == nil }

    /// Whether both sides let the connection live.
    var keepsConnection: Bool { self.request.isRepeatable && self.reader.keepsConnection }

    /// The request's first lines.
    var head: HTTPRequestHead {
        var headers = HTTPHeaders([("Host", self.host)])
        if !self.request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(self.request.method) {
            headers.add(name: "Content-Length", value: "\(self.request.body.count)")
        }
        if !self.request.isRepeatable { headers.add(name: "Connection", value: "close") }
        for field in self.request.fields { headers.add(name: field.name, value: field.value) }
        return HTTPRequestHead(
            version: .http1_1,
            method: HTTPMethod(rawValue: self.request.method),
            uri: self.request.path,
            headers: headers
        )
    }

    func startTimer(on eventLoop: any EventLoop) {
        self.timer = eventLoop.assumeIsolated().scheduleTask(deadline: self.deadline) {
            self.fail(HTTPFailure(.timedOut, "no answer in time"))
        }
    }

    func succeed(_ answer: HTTPAnswer) { self.end()?.succeed(answer) }

    /// Ends the exchange, and the connection that carries it.
    func fail(_ error: any Error) {
        let connection = self.connection
        guard let promise = self.end() else { return }
        connection?.close()
        promise.fail(error)
    }

    private func end() -> EventLoopPromise<HTTPAnswer>? {
        self.timer?.cancel()
        self.timer = nil
        self.connection = nil
        defer { self.promise = nil }
        return self.promise
    }
}

@available(*, unavailable)
extension HTTPExchange: Sendable {}
