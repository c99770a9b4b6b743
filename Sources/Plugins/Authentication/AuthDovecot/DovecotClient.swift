import NIOCore
import NIOPosix
import Octets
import PolicyKit

/// Why Dovecot gave no answer.
struct DovecotError: Error, Equatable, CustomStringConvertible {
    let description: String
}

/// Asks Dovecot about logins, all of them over one connection, which is made when it is needed.
///
/// Confined to the worker's event loop.
final class DovecotClient {
    /// A login that waits for its answer.
    final class Question {
        let request: DovecotRequest
        let promise: EventLoopPromise<DovecotAnswer>
        var timer: Scheduled<Void>?
        /// How many connections it was sent on.
        var attempts = 0

        init(_ request: DovecotRequest, _ promise: EventLoopPromise<DovecotAnswer>) {
            self.request = request
            self.promise = promise
        }
    }

    private static let connectTime = TimeAmount.seconds(5)
    /// A question whose connection ends is asked once more, on a new one: Dovecot may have been started again.
    private static let maximumAttempts = 2

    private let address: ServerAddress
    private let eventLoop: any EventLoop
    private var connection: DovecotConnection?
    private var isConnecting = false
    /// In the order of their arrival, not sent yet.
    private var unsent: [Question] = []

    init(to address: ServerAddress, on eventLoop: any EventLoop) {
        self.address = address
        self.eventLoop = eventLoop
    }

    /// Asks; the promise gets the answer or an error, at the latest after `time`.
    func ask(
        _ request: DovecotRequest,
        within time: TimeAmount,
        _ promise: EventLoopPromise<DovecotAnswer>
    ) {
        let question = Question(request, promise)
        question.timer = self.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.give(up: question, DovecotError(description: "no answer in time"))
        }
        self.send(question)
    }

    private func send(_ question: Question) {
        if let connection = self.connection, connection.isReady {
            connection.send(question)
        } else {
            self.unsent.append(question)
            if self.connection == nil { self.connect() }
        }
    }

    private func give(up question: Question, _ error: DovecotError) {
        self.unsent.removeAll { $0 === question }
        self.connection?.forget(question)
        question.fail(error)
        // A server that does not even say hello is not waited for again.
        if let connection = self.connection, !connection.isReady, self.unsent.isEmpty {
            connection.close()
        }
    }

    private func connect() {
        guard !self.isConnecting else { return }
        self.isConnecting = true
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(Self.connectTime)
            // Nothing is read before the handler is there; of several addresses one gets it.
            .channelOption(.autoRead, value: false)
        let connected =
            switch self.address {
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
            }
        connected.assumeIsolated().flatMapThrowing { channel in
            self.isConnecting = false
            let connection = DovecotConnection(channel, of: self)
            try channel.pipeline.syncOperations.addHandler(connection)
            self.connection = connection
            connection.sayHello()
            try channel.syncOptions?.setOption(.autoRead, value: true)
        }.whenFailure { error in
            self.isConnecting = false
            self.failUnsent("cannot connect to \(self.address): \(error)")
        }
    }

    /// The connection can take questions now.
    func isReady(_ connection: DovecotConnection) {
        let waiting = self.unsent
        self.unsent = []
        waiting.forEach(connection.send)
    }

    /// The connection is gone, and these questions had no answer.
    func isGone(_ connection: DovecotConnection, _ open: [Question], _ reason: String) {
        guard self.connection === connection else { return }
        self.connection = nil
        self.failUnsent(reason)
        for question in open {
            if question.attempts < Self.maximumAttempts {
                self.send(question)
            } else {
                question.fail(DovecotError(description: reason))
            }
        }
    }

    private func failUnsent(_ reason: String) {
        let waiting = self.unsent
        self.unsent = []
        for question in waiting { question.fail(DovecotError(description: reason)) }
    }

    /// Ends the connection.
    func stop() { self.connection?.close() }
}

extension DovecotClient.Question {
    func fail(_ error: DovecotError) {
        self.timer?.cancel()
        self.promise.fail(error)
    }

    func succeed(_ answer: DovecotAnswer) {
        self.timer?.cancel()
        self.promise.succeed(answer)
    }
}

/// One connection to Dovecot.
///
/// Confined to the worker's event loop.
final class DovecotConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let channel: any Channel
    private let client: DovecotClient
    private var dialogue = DovecotDialogue()
    /// What has come of a line.
    private var line: [UInt8] = []
    private var open: [UInt32: DovecotClient.Question] = [:]
    private var lastNumber: UInt32 = 0
    private var reason = "the server closed the connection"

    init(_ channel: any Channel, of client: DovecotClient) {
        self.channel = channel
        self.client = client
    }

    var isReady: Bool { self.dialogue.isReady }

    func sayHello() {
        // Dovecot wants the number of a process, but to tell connections apart alone.
        self.write(DovecotDialogue.hello(process: UInt32.random(in: 2...0x7fff_ffff)))
    }

    func send(_ question: DovecotClient.Question) {
        self.lastNumber &+= 1
        guard let line = question.request.line(number: self.lastNumber) else {
            // No user has such a name or password: Dovecot could not be asked about it.
            return question.succeed(.refused)
        }
        question.attempts += 1
        self.open[self.lastNumber] = question
        self.write(line)
    }

    /// The answer to a question is waited for no more.
    func forget(_ question: DovecotClient.Question) {
        guard let number = self.open.first(where: { $0.value === question })?.key else { return }
        self.open[number] = nil
        self.write(Array("CANCEL\t\(number)\n".utf8))
    }

    func close() { self.channel.close(promise: nil) }

    private func write(_ octets: [UInt8]) {
        self.channel.writeAndFlush(ByteBuffer(bytes: octets), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for octet in self.unwrapInboundIn(data).readableBytesView {
            guard octet == 0x0a else {
                self.line.append(octet)
                guard self.line.count <= DovecotDialogue.maximumLineOctets else {
                    return self.fail("the server sent a line without an end")
                }
                continue
            }
            let line = self.line
            self.line.removeAll(keepingCapacity: true)
            do throws(DovecotDialogue.Refusal) {
                switch try self.dialogue.receive(line) {
                case .ready: self.client.isReady(self)
                case .answer(let number, let answer):
                    self.open.removeValue(forKey: number)?.succeed(answer)
                case .nothing: break
                }
            } catch {
                return self.fail("\(error)")
            }
        }
    }

    private func fail(_ reason: String) {
        self.reason = reason
        self.line = []
        self.close()
    }

    func channelInactive(context: ChannelHandlerContext) {
        let open = self.open.sorted { $0.key < $1.key }.map(\.value)
        self.open = [:]
        self.client.isGone(self, open, self.reason)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.reason = "\(error)"
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension DovecotClient: Sendable {}

@available(*, unavailable)
extension DovecotConnection: Sendable {}
