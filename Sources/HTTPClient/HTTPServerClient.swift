import Certificates
import NIOCore
import NIOSSL
package import PolicyKit

/// Asks one server by HTTP/1.1, over TCP, a Unix socket or TLS.
///
/// ```swift
/// self.rspamd = try configuration.httpClient(to: url)      // in the initialiser
/// …
/// let answer = try await self.rspamd.ask(
///     HTTPRequest("POST", "/checkv2", body: message), limit: 1_000_000, within: event.workingTime
/// )
/// ```
///
/// A connection carries one request at a time. It is kept if the server allows it, for requests that may be
/// repeated: at most ``maximumIdle`` connections, each for ``idleTime``. No redirection is followed. Safe
/// from any task.
package struct HTTPServerClient: Sendable {
    /// The most unused connections that are kept.
    package static let maximumIdle = 8
    /// How long an unused connection is kept.
    package static let idleTime: Duration = .seconds(15)
    /// The most time that making a connection may take.
    package static let connectTime: Duration = .seconds(5)

    /// Where the server is.
    package let url: HTTPServerURL
    private let eventLoop: any EventLoop
    private let connections: NIOLoopBoundBox<HTTPConnections>

    init(
        _ url: HTTPServerURL,
        tls: HTTPEncryption?,
        on eventLoop: any EventLoop,
        idleTime: Duration = Self.idleTime
    ) {
        self.url = url
        self.eventLoop = eventLoop
        self.connections = .makeBoxSendingValue(
            HTTPConnections(
                to: url.address,
                tls: tls,
                on: eventLoop,
                idleTime: TimeAmount(idleTime)
            ),
            eventLoop: eventLoop
        )
    }

    /// Sends a request and takes the answer, whatever its status.
    ///
    /// - Parameters:
    ///   - request: What is asked.
    ///   - limit: The most octets of the answer's content.
    ///   - time: The time for connecting, TLS, sending and the answer together, a day at most.
    /// - Returns: The answer. The caller judges its status.
    /// - Throws: ``HTTPFailure``; `CancellationError` if the task is cancelled.
    package func ask(
        _ request: HTTPRequest,
        limit: Int,
        within time: Duration
    ) async throws -> HTTPAnswer {
        if let problem = request.problem { throw HTTPFailure(.badRequest, problem) }
        let promise = self.eventLoop.makePromise(of: HTTPAnswer.self)
        let exchange = NIOLoopBoundBox.makeBoxSendingValue(
            HTTPExchange(
                request,
                host: self.url.authority,
                limit: limit,
                deadline: .now() + TimeAmount(max(.zero, min(time, .seconds(86_400)))),
                promise: promise
            ),
            eventLoop: self.eventLoop
        )
        self.onLoop { self.connections.value.start(exchange.value) }
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            self.onLoop { exchange.value.fail(CancellationError()) }
        }
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if self.eventLoop.inEventLoop { body() } else { self.eventLoop.execute(body) }
    }
}

/// How connections to a server are encrypted.
struct HTTPEncryption: Sendable {
    let context: NIOSSLContext
    /// The name that the server's certificate must have.
    let name: String
}

extension PluginConfiguration {
    /// A client of a server of HTTP, for a plugin to keep.
    ///
    /// Connects when it is first asked.
    ///
    /// Takes the arguments `tls_name` (the name in the server's certificate, if it is not the host's) and
    /// `tls_ca_file` (the authorities to trust, in PEM; else the system's); what is wrong with them is
    /// recorded. With `https` the certificate must be one that an authority gave for the name.
    package func httpClient(to url: HTTPServerURL) -> HTTPServerClient {
        let name = self.argument("tls_name", as: .text)
        let file = self.argument("tls_ca_file", as: .text).map { self.resolve(path: $0) }
        let eventLoop = self.shared.eventLoop
        if let name, ServerAddress(name, defaultPort: 443)?.certificateName != name {
            self.record("tls_name is \(name); it must be a host name, and no address")
        }
        guard url.isEncrypted else {
            if name != nil || file != nil {
                self.warn("tls_name and tls_ca_file mean nothing without https")
            }
            return HTTPServerClient(url, tls: nil, on: eventLoop)
        }
        guard let name = name ?? url.address.certificateName else {
            self.record("https needs the name in the server's certificate: write tls_name HOST")
            return HTTPServerClient(url, tls: nil, on: eventLoop)
        }
        do {
            let context = try ClientTLS.context(isVerifying: true, authorities: file)
            let tls = HTTPEncryption(context: context, name: name)
            return HTTPServerClient(url, tls: tls, on: eventLoop)
        } catch {
            self.record("tls_ca_file is \(file ?? ""): \(error)")
            return HTTPServerClient(url, tls: nil, on: eventLoop)
        }
    }
}
