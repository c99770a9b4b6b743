import CUnbound
import DomainNames
import Glibc

/// Where and how to ask.
package struct DNSConfiguration: Sendable, Hashable {
    /// Recursive resolvers, each an address, with a port as `192.0.2.1:53` or `[2001:db8::1]:53`.
    ///
    /// Empty: those of `/etc/resolv.conf`.
    package var servers: [String]
    /// The absolute path of a file with DNSKEY or DS records of the zones from which DNSSEC is validated, mostly
    /// of the root; `nil`: nothing is validated.
    package var trustAnchorFile: String?
    /// The longest a query may take, whatever its caller allows.
    package var timeout: Duration
    /// The most queries under way at once; the next is answered `.overloaded`.
    package var maximumOutstanding: Int

    package init(
        servers: [String] = [],
        trustAnchorFile: String? = nil,
        timeout: Duration = .seconds(5),
        maximumOutstanding: Int = 1000
    ) {
        self.servers = servers
        self.trustAnchorFile = trustAnchorFile
        self.timeout = timeout
        self.maximumOutstanding = maximumOutstanding
    }
}

/// Why the resolver could not be set up.
package struct DNSSetupError: Error, Sendable, CustomStringConvertible {
    /// What was tried and what the library said.
    package let description: String
}

/// The one owner of a libunbound context; freed with it.
///
/// Not thread-safe by intention: every call is made by the thread that runs ``UnboundResolver``, so
/// that a query's result cannot cross its cancellation. The library does the work on a thread of
/// its own and tells us through ``descriptor``.
struct UnboundContext: ~Copyable {
    private let context: OpaquePointer

    init(_ configuration: DNSConfiguration) throws(DNSSetupError) {
        self.context = try Self.make(configuration)
    }

    deinit { ub_ctx_delete(self.context) }

    /// Becomes readable when ``process()`` has something to do.
    var descriptor: CInt { ub_fd(self.context) }

    /// Runs the callbacks of what has been answered, on this thread, before it returns.
    ///
    /// - Returns: Whether the library is still alive.
    func process() -> Bool { ub_process(self.context) == 0 }

    /// Starts a query.
    ///
    /// - Parameters:
    ///   - name: The name to look up.
    ///   - type: The record type.
    ///   - argument: Handed to `callback` once; must stay valid until then, or until
    ///     ``cancel(_:)`` said that the callback will not come.
    ///   - callback: Run by ``process()``.
    /// - Returns: The library's id of the query, or its error code.
    func start(
        _ name: DNSName,
        _ type: DNSRecordType,
        argument: UnsafeMutableRawPointer,
        callback: @escaping ub_callback_type
    ) -> Result<CInt, DNSFailure> {
        var id: CInt = 0
        let code = ub_resolve_async(
            self.context,
            name.text,
            type.rawValue,
            1,
            argument,
            callback,
            &id
        )
        return code == 0 ? .success(id) : .failure(.library(code: code))
    }

    /// Gives a query up.
    ///
    /// - Returns: Whether its callback will never run. If not, it will run in ``process()``.
    func cancel(_ id: CInt) -> Bool { ub_cancel(self.context, id) == 0 }

    private static func make(
        _ configuration: DNSConfiguration
    ) throws(DNSSetupError) -> OpaquePointer {
        guard let context = ub_ctx_create() else {
            throw DNSSetupError(description: "libunbound: out of memory or of descriptors")
        }
        do {
            try Self.configure(context, configuration)
            return context
        } catch {
            ub_ctx_delete(context)
            throw error
        }
    }

    private static func configure(
        _ context: OpaquePointer,
        _ configuration: DNSConfiguration
    ) throws(DNSSetupError) {
        try Self.check(ub_ctx_async(context, 1), "threads")
        for (option, value) in Self.options {
            try Self.check(ub_ctx_set_option(context, option, value), "option \(option)")
        }
        if configuration.servers.isEmpty {
            try Self.check(ub_ctx_resolvconf(context, nil), "/etc/resolv.conf")
        }
        for server in configuration.servers {
            guard let forward = Self.forwardAddress(server) else {
                throw DNSSetupError(description: "dns server \(server): not an IP address")
            }
            try Self.check(ub_ctx_set_fwd(context, forward), "dns server \(server)")
        }
        if let file = configuration.trustAnchorFile {
            // The library reads it with the first question, and then says nothing of it.
            guard access(file, R_OK) == 0 else {
                throw DNSSetupError(
                    description: "trust_anchor_file \(file): \(String(cString: strerror(errno)))"
                )
            }
            try Self.check(ub_ctx_add_ta_file(context, file), "trust_anchor_file \(file)")
        }
        // Special-use names (RFC 6761 §6.2) as well: our forwarder answers for them.
        for zone in ["test.", "invalid.", "home.arpa."] {
            try Self.check(ub_ctx_zone_remove(context, zone), "zone \(zone)")
        }
    }

    private static let options = [
        // 127.0.0.1 is where a mail server's resolver usually is; the library refuses to ask it.
        ("do-not-query-localhost:", "no"),
        // What a forwarder says about private addresses is for it to decide, not for us.
        ("unblock-lan-zones:", "yes"),
        // A forwarder that was down is tried again soon: by default the library writes a server
        // off for 15 minutes.
        ("infra-keep-probing:", "yes"),
        ("infra-host-ttl:", "30"),
        // The library's default of 16 sockets is 16 questions at a time.
        ("outgoing-range:", "256"),
    ]

    private static func check(_ code: CInt, _ what: String) throws(DNSSetupError) {
        guard code != 0 else { return }
        let reason = ub_strerror(code).map { String(cString: $0) } ?? "error \(code)"
        throw DNSSetupError(description: "\(what): \(reason)")
    }

    /// The library's spelling of an address with a port: `127.0.0.1@5353`.
    static func forwardAddress(_ server: String) -> String? {
        let octets = Array(server.utf8)
        let allowed = octets.allSatisfy { octet in
            switch octet {
            case 0x30...0x39, 0x41...0x46, 0x61...0x66, 0x2E, 0x3A, 0x5B, 0x5D: true
            default: false
            }
        }
        guard allowed, !octets.isEmpty else { return nil }
        if octets.first == 0x5B {
            let parts = server.dropFirst().split(
                separator: "]",
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            guard parts.count == 2 else { return nil }
            if parts[1].isEmpty { return String(parts[0]) }
            guard parts[1].first == ":", UInt16(parts[1].dropFirst()) != nil else { return nil }
            return "\(parts[0])@\(parts[1].dropFirst())"
        }
        let colons = octets.filter { $0 == 0x3A }.count
        guard colons == 1 else { return server }
        let parts = server.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, UInt16(parts[1]) != nil else { return nil }
        return "\(parts[0])@\(parts[1])"
    }
}

extension DNSLookup {
    /// Copies a result out of the library's memory and frees it.
    init(consuming result: UnsafeMutablePointer<ub_result>?, code: CInt, type: DNSRecordType) {
        guard let result else {
            self.init(.failure(.library(code: code)))
            return
        }
        defer { ub_resolve_free(result) }
        let answer = DNSAnswer(result.pointee, code: code, type: type)
        var name: DNSName?
        if case .records = answer, let text = result.pointee.canonname {
            name = DNSName(String(cString: text))
        }
        if case .failure = answer {
            self.init(answer)
        } else {
            self.init(answer, isSecure: result.pointee.secure != 0, canonicalName: name)
        }
    }
}

extension DNSAnswer {
    fileprivate init(_ result: ub_result, code: CInt, type: DNSRecordType) {
        if code != 0 {
            self = .failure(.library(code: code))
        } else if result.bogus != 0 {
            self = .failure(.bogus)
        } else if result.nxdomain != 0 {
            self = .nxdomain
        } else if result.rcode != 0 {
            self = .failure(.server(rcode: result.rcode))
        } else if result.havedata == 0 {
            self = .nodata
        } else {
            self = Self.records(of: result, type: type)
        }
    }

    private static func records(of result: ub_result, type: DNSRecordType) -> DNSAnswer {
        guard let data = result.data, let lengths = result.len else { return .nodata }
        var records: [DNSRecord] = []
        var index = 0
        // The list ends with a null pointer; an answer is at most 65,535 octets in all.
        while let start = data[index] {
            guard index < DNSRecord.maximumCount else { return .failure(.unreadable) }
            let octets = UnsafeRawBufferPointer(start: start, count: max(0, Int(lengths[index])))
            if let record = DNSRecord(type: type, data: Array(octets)) { records.append(record) }
            index += 1
        }
        if index == 0 { return .nodata }
        return records.isEmpty ? .failure(.unreadable) : .records(records)
    }
}
