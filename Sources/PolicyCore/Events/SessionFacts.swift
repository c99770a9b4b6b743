import JSON
package import SMTPCore

/// One end of a connection.
package struct Peer: Equatable, Sendable {
    /// RFC 5952 or dotted, as policy sees it: IPv4 in IPv6 is IPv4.
    package let ip: String
    /// 0…65535; 0 if it is not known.
    package let port: Int

    /// The `ip` of a peer whose address is not known.
    package static let unknownIP = "0.0.0.0"

    package init(ip: String, port: Int) {
        self.ip = ip
        self.port = port
    }
}

/// What is known of a session outside a transaction, and its JSON.
///
/// Its text is kept until something changes, which all but the counters does rarely: an event then
/// costs a copy instead of a dozen fields.
package struct SessionFacts {
    package let id: String
    package let listener: String
    /// Unix milliseconds.
    let startedMS: Int64
    /// The true client, also behind a proxy.
    package private(set) var client: Peer
    /// What the client connected to.
    package private(set) var server: Peer
    /// The proxy that handed the connection over; `nil` if none did.
    package private(set) var proxy: Peer?
    package internal(set) var clientName: String? { didSet { self.fixedOctets = 0 } }
    /// `HELO`, `EHLO` or `LHLO`, and the name that came with it.
    package internal(set) var hello: (verb: String, name: [UInt8])? {
        didSet { self.fixedOctets = 0 }
    }
    /// `nil` while the connection is not encrypted.
    package internal(set) var tls: TLSFacts? { didSet { self.fixedOctets = 0 } }
    /// `nil` until AUTH succeeded.
    package internal(set) var login: LoginFacts? { didSet { self.fixedOctets = 0 } }
    /// Where the next message came from, as a trusted client said by XFORWARD; `nil` if none did.
    ///
    /// For logs: nothing follows from it.
    package private(set) var forwarded: ClientAttributes? { didSet { self.fixedOctets = 0 } }
    var isRelay = false { didSet { self.fixedOctets = 0 } }
    package internal(set) var isEarlyTalker = false {
        didSet { if self.isEarlyTalker != oldValue { self.fixedOctets = 0 } }
    }

    /// The object as it was written last, and with which counters.
    private var text = JSONWriter()
    private var counters = AbuseMeter()
    /// The octets before `counters`, the last member; 0 when they have to be written again.
    private var fixedOctets = 0

    package init(
        id: String,
        listener: String,
        startedMS: Int64,
        client: Peer,
        server: Peer
    ) {
        self.id = id
        self.listener = listener
        self.startedMS = startedMS
        self.client = client
        self.server = server
    }

    /// A proxy named the client that it speaks for, and perhaps what that connected to.
    ///
    /// What was known of the client before is forgotten: its name, its HELO and what it may.
    mutating func clientReplaced(by client: Peer, server: Peer?, proxy: Peer) {
        self.forgetForwarded()
        self.client = client
        if let server { self.server = server }
        self.proxy = proxy
        self.clientName = nil
        self.hello = nil
        self.tls?.clientReplaced()
        self.login = nil
        self.isRelay = false
        self.fixedOctets = 0
    }

    /// A trusted client said where the next message came from.
    mutating func forwarded(_ client: ClientAttributes) {
        var all = self.forwarded ?? ClientAttributes([])
        all.merge(client)
        self.forwarded = all
    }

    mutating func forgetForwarded() {
        if self.forwarded != nil { self.forwarded = nil }
    }

    /// Writes the `session` object of an event.
    mutating func encode(counters: AbuseMeter, into writer: inout JSONWriter) {
        if self.fixedOctets == 0 {
            self.text.removeAll()
            self.encodeFixedText()
            self.fixedOctets = self.text.octets.count
            self.encode(counters)
        } else if self.counters != counters {
            self.text.truncate(to: self.fixedOctets)
            self.encode(counters)
        }
        writer.raw(self.text.octets)
    }

    private mutating func encode(_ counters: AbuseMeter) {
        self.counters = counters
        self.text.fragment(#","counters":{"commands":"#)
        self.text.int(Int64(clamping: counters.commands))
        self.text.fragment(#","errors":"#)
        self.text.int(Int64(clamping: counters.errors))
        self.text.fragment(#","unrecognized":"#)
        self.text.int(Int64(clamping: counters.unrecognized))
        self.text.fragment(#","transactions":"#)
        self.text.int(Int64(clamping: counters.transactions))
        self.text.fragment(#","rcpt_ok":"#)
        self.text.int(Int64(clamping: counters.recipientsGranted))
        self.text.fragment(#","rcpt_denied":"#)
        self.text.int(Int64(clamping: counters.recipientsRefused))
        // Listeners without AUTH have none of it.
        if counters.failedLogins > 0 {
            self.text.fragment(#","auth_failed":"#)
            self.text.int(Int64(clamping: counters.failedLogins))
        }
        self.text.fragment("}}")
    }

    private mutating func encodeFixedText() {
        self.text.beginObject()
        self.text.key("id")
        self.text.string(self.id)
        self.text.key("listener")
        self.text.string(self.listener)
        self.text.key("started_ms")
        self.text.int(self.startedMS)
        self.text.key("client")
        Self.encode(self.client, name: .some(self.clientName), into: &self.text)
        self.text.key("server")
        Self.encode(self.server, name: nil, into: &self.text)
        self.text.key("proxy")
        if let proxy = self.proxy {
            Self.encode(proxy, name: nil, into: &self.text)
        } else {
            self.text.null()
        }
        self.text.key("hello")
        if let hello = self.hello {
            self.text.beginObject()
            self.text.key("verb")
            self.text.string(hello.verb)
            self.text.key("name")
            self.text.bytes(hello.name)
            self.text.endObject()
        } else {
            self.text.null()
        }
        self.text.key("tls")
        if let tls = self.tls { tls.encode(into: &self.text) } else { self.text.null() }
        self.text.key("auth")
        if let login = self.login { login.encode(into: &self.text) } else { self.text.null() }
        self.text.key("relay")
        self.text.bool(self.isRelay)
        self.text.key("early_talker")
        self.text.bool(self.isEarlyTalker)
        if let forwarded = self.forwarded {
            self.text.key("xforward")
            self.text.beginObject()
            for entry in forwarded.entries {
                self.text.key(entry.name.key)
                if let value = entry.value { self.text.bytes(value) } else { self.text.null() }
            }
            self.text.endObject()
        }
    }

    /// A `name` of `nil` leaves the member out; `.some(nil)` writes null.
    private static func encode(
        _ peer: Peer,
        name: String??,
        into writer: inout JSONWriter
    ) {
        writer.beginObject()
        writer.key("ip")
        writer.string(peer.ip)
        writer.key("port")
        writer.int(Int64(peer.port))
        if let name {
            writer.key("name")
            if let name { writer.string(name) } else { writer.null() }
        }
        writer.endObject()
    }
}

extension ClientAttributes.Name {
    /// The member of `session.xforward`.
    fileprivate var key: StaticString {
        switch self {
        case .name: "name"
        case .address: "addr"
        case .port: "port"
        case .proto: "proto"
        case .hello: "helo"
        case .identity: "ident"
        case .source: "source"
        case .login: "login"
        case .serverAddress: "destaddr"
        case .serverPort: "destport"
        }
    }
}
