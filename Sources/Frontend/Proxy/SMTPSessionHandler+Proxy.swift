import Configuration
import NIOCore
import PolicyCore
import ProxyProtocol
import SMTPCore

// MARK: - A proxy in front of the client

extension SMTPSessionHandler {
    /// Waits for the header in which the proxy names its client.
    func awaitProxyHeader() {
        self.phase = .proxyHeader
        self.phaseUntilMS = self.server.nowMS + self.listener.configuration.proxyTimeoutMS
    }

    /// Octets arrived while the header is waited for.
    func readProxyHeader(_ context: ChannelHandlerContext, _ octets: ByteBuffer) {
        let read: (header: ProxyHeader, octets: Int)?
        do throws(ProxyHeaderError) {
            read = try ProxyHeader.read(in: octets.readableBytesUInt8Span)
        } catch {
            return self.proxyHeaderRefused("\(error)")
        }
        guard let read else { return }
        let rest = self.takeInput(after: read.octets)
        var isProxyItself = true
        if case .client(let client, let server) = read.header {
            isProxyItself = false
            self.clientAddress = client.address
            self.policy.clientReplaced(
                by: Peer(client),
                server: Peer(server),
                proxy: self.policy.facts.client
            )
        }
        self.phaseUntilMS = .max
        self.phase = .greetingHeld
        guard let refusal = self.server.clientNamed(self, isProxyItself: isProxyItself) else {
            self.begin(context)
            guard rest.readableBytes > 0 else { return }
            // To the TLS handler, if there is one by now, or else to this one.
            return context.pipeline.syncOperations.fireChannelRead(NIOAny(rest))
        }
        self.refuse(refusal)
    }

    /// The header was no header, or it was late.
    func proxyHeaderRefused(_ reason: String) {
        self.summary.proxyHeaderRefused(
            reason,
            facts: self.policy.facts,
            log: (self.server.logger, self.server.nowMS)
        )
        self.endNow(.refused)
    }

    /// A limit refuses the client that the proxy named.
    private func refuse(_ refusal: ConnectionLimits.Refusal) {
        // A client that waits for a handshake could not read a reply.
        guard self.listener.configuration.tls != .implicit else { return self.endNow(.refused) }
        self.phase = .parsing
        self.perform(self.machine.close(refusal.reply))
        self.flush()
    }
}

// MARK: - XCLIENT

extension SMTPSessionHandler {
    /// A trusted proxy named the client that it speaks for: the session begins again with that.
    func clientNamed(_ attributes: ClientAttributes) {
        let facts = self.policy.facts
        guard let named = NamedClient(attributes, before: facts) else {
            return self.send(StandardReplies.clientSyntax)
        }
        let proxy = self.namingPeer ?? facts.client
        self.namingPeer = proxy
        self.clientAddress = named.address
        self.policy.clientReplaced(
            by: named.client,
            server: named.server,
            proxy: proxy,
            name: named.name,
            user: named.user
        )
        if let refusal = self.server.clientNamed(self, isProxyItself: false) {
            return self.perform(self.machine.close(refusal.reply))
        }
        self.perform(self.machine.clientReplaced(isAuthenticated: named.user != nil))
    }
}

extension Peer {
    init(_ endpoint: ProxyEndpoint) {
        self.init(ip: "\(endpoint.address)", port: Int(endpoint.port))
    }
}
