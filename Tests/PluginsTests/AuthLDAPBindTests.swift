import LDAPClient
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct AuthLDAPBindTests {
    private func session(
        _ server: TestServer,
        _ arguments: String = "",
        files: [String: String] = [:]
    ) async throws -> TestSession {
        try await TestSession(
            [AuthLDAPBind.self],
            plugins: "auth/auth_ldap_bind ldap_host \(server.address) ldap_base o=x \(arguments)",
            files: files
        )
    }

    @Test func `the user is searched, and its entry's bind decides`() async throws {
        let requests = FakeDirectory.Requests()
        let server = try FakeDirectory.server(requests, FakeDirectory.good)
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == .ok)
        #expect(try await session.auth("jo", .password("Secret"), mechanism: "LOGIN") == .deny)
        let binds = requests.all.filter { if case .bind = $0 { true } else { false } }
        #expect(
            binds == ["secret", "Secret"].map { .bind(name: "uid=jo,o=x", password: $0) }
        )
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth("jo", response) == .declined)
    }

    @Test(arguments: [
        ("", "jo@example.com", "uid", "jo@example.com"),
        ("ldap_user local", "jo@example.com", "uid", "jo"),
        ("ldap_user local ldap_auth_filter_attr cn", "a@b@c", "cn", "a@b"),
        ("ldap_auth_filter_attr mail", "*)(uid=*", "mail", "*)(uid=*"),
        ("", "\0\\()*é", "uid", "\0\\()*é"),
    ])
    func `the name is one value of the filter`(
        arguments: String,
        user: String,
        attribute: String,
        value: String
    ) async throws {
        let requests = FakeDirectory.Requests()
        let server = try FakeDirectory.server(requests, FakeDirectory.good)
        defer { server.stop() }
        let session = try await self.session(server, arguments)
        #expect(try await session.auth(Bytes(user), .password("secret")) == .ok)
        guard case .search(let octets)? = requests.all.first else {
            Issue.record("no search")
            return
        }
        // An equalityMatch (RFC 4511 §4.5.1.7), and only one.
        let assertion =
            FakeDirectory.value(0x04, Array(attribute.utf8))
            + FakeDirectory.value(0x04, Array(value.utf8))
        #expect(octets.contains(FakeDirectory.value(0xA3, assertion)))
    }

    @Test(arguments: [
        (0, Answer.ok), (48, .deny), (49, .deny), (53, .deny), (1, .denysoft), (2, .denysoft),
        (10, .denysoft), (14, .denysoft), (32, .denysoft), (51, .denysoft), (52, .denysoft),
        (80, .denysoft),
    ])
    func `the code of the bind decides`(code: Int, answer: Answer) async throws {
        let server = try FakeDirectory.server { request, id in
            if case .bind = request { return FakeDirectory.result(0x61, id, UInt8(code)) }
            return FakeDirectory.good(request, id)
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == answer)
        #expect(session.relay == (answer == .ok))
    }

    /// What a search brings: names of entries, then a code.
    ///
    /// The directory says yes to every bind.
    @Test(arguments: [
        ([], 0, Answer.declined), (["uid=jo,o=x", "uid=jo,o=y"], 0, .denysoft),
        (["uid=jo,o=x", "uid=jo,o=y"], 4, .denysoft), (["uid=jo,o=x"], 4, .denysoft),
        ([], 32, .denysoft), ([], 50, .denysoft), ([], 10, .denysoft), ([""], 0, .denysoft),
        (["uid=jo,o=x"], 0, .ok),
    ])
    func `one entry with a name is a user`(
        names: [String],
        code: Int,
        answer: Answer
    ) async throws {
        let server = try FakeDirectory.server { request, id in
            switch request {
            case .bind: FakeDirectory.result(0x61, id)
            case .search:
                names.flatMap { FakeDirectory.entry(id, $0) }
                    // A reference to another directory, which is passed over.
                    + FakeDirectory.message(id, [0x73, 0x0A, 0x04, 0x08] + Array("ldap://x".utf8))
                    + FakeDirectory.result(0x65, id, UInt8(code))
            default: []
            }
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == answer)
    }

    /// RFC 4513 §5.1.2: a directory may say yes to a bind with a name and no password.
    @Test func `no bind is made without a password`() async throws {
        let requests = FakeDirectory.Requests()
        let server = try FakeDirectory.server(requests) { request, id in
            if case .bind = request { return FakeDirectory.result(0x61, id) }
            return FakeDirectory.good(request, id)
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("")) == .deny)
        #expect(requests.all == [])
    }

    @Test(arguments: ["", "ldap_tls ldaps", "ldap_tls starttls"])
    func `a server that is silent, ends or babbles puts the login off`(tls: String) async throws {
        let name = tls.isEmpty ? "" : "\(tls) ldap_tls_name directory.example"
        for octets: [UInt8] in [
            [], Array("220 mx ESMTP\r\n".utf8), [0x30, 0x84, 0x7F, 0xFF, 0xFF, 0xFF],
            [0x30, 0x80], [0x16, 0x03, 0x03, 0x40, 0x00, 0x02],
            Array(FakeDirectory.good(.search([]), 1).dropLast(4)),
        ] {
            for ends in [true, false] {
                let server = try TestServer { connection in
                    _ = connection.read(2)
                    connection.write(octets)
                    if !ends { connection.waitForEnd() }
                }
                defer { server.stop() }
                let session = try await self.session(server, "\(name) ldap_timeout 200ms")
                #expect(try await session.auth("jo", .password("secret")) == .denysoft)
            }
        }
    }

    @Test func `an answer may come octet by octet`() async throws {
        let server = try TestServer { connection in
            var id: UInt8 = 1
            for request in [FakeDirectory.Request.search([]), .bind(name: "", password: "secret")] {
                _ = connection.read(20)
                for octet in FakeDirectory.good(request, id) { connection.write([octet]) }
                id += 1
            }
            connection.waitForEnd()
        }
        defer { server.stop() }
        let session = try await self.session(server)
        #expect(try await session.auth("jo", .password("secret")) == .ok)
    }

    @Test func `where StartTLS is refused nothing is sent in clear text`() async throws {
        let requests = FakeDirectory.Requests()
        let server = try FakeDirectory.server(requests, FakeDirectory.good)
        defer { server.stop() }
        let session = try await self.session(
            server,
            "ldap_tls starttls ldap_tls_name directory.example"
        )
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        #expect(requests.all.filter { $0 != .unbind } == [.startTLS])
    }

    @Test func `the search is made as the entry that the operator names`() async throws {
        let folder = try ScratchFolder()
        try folder.write(Array("service word\nmore\n".utf8), "secret")
        let requests = FakeDirectory.Requests()
        let server = try FakeDirectory.server(requests) { request, id in
            if case .bind(_, "service word") = request { return FakeDirectory.result(0x61, id) }
            return FakeDirectory.good(request, id)
        }
        defer { server.stop() }
        let session = try await self.session(
            server,
            files: [
                "ldap":
                    "ldap_bind_dn cn=mail server,o=x\nldap_bind_password_file \(folder.path)/secret\n"
            ]
        )
        #expect(try await session.auth("jo", .password("secret")) == .ok)
        #expect(requests.all.first == .bind(name: "cn=mail server,o=x", password: "service word"))
        try folder.write(Array("another word\n".utf8), "secret")
        let wrong = try await self.session(
            server,
            "ldap_bind_dn cn=x,o=x ldap_bind_password_file \(folder.path)/secret"
        )
        #expect(try await wrong.auth("jo", .password("secret")) == .denysoft)
    }

    @Test func `without a server the login is put off`() async throws {
        let server = try TestServer { _ in }
        server.stop()
        for arguments in ["", "ldap_host /nowhere/ldapi"] {
            let line = arguments.isEmpty ? "ldap_host \(server.address)" : arguments
            let session = try await TestSession(
                [AuthLDAPBind.self],
                plugins: "auth/auth_ldap_bind ldap_base o=x \(line)"
            )
            #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        }
    }

    @Test(arguments: [
        ("", ""), ("ldap_base o=x ldap_port 0", ""), ("ldap_base o=x ldap_host ldap://h", ""),
        ("ldap_base o=x ldap_tls may", ""), ("ldap_base o=x at_once 0", ""),
        ("ldap_base o=x ldap_auth_filter_attr u*d", ""), ("ldap_base o=x ldap_user both", ""),
        ("ldap_base o=x ldap_timeout 0", ""), ("ldap_base o=x ldap_bind_dn cn=x", ""),
        ("ldap_base o=x ldap_bind_password_file x", ""),
        ("ldap_base o=x ldap_bind_dn cn=x ldap_bind_password_file /nowhere/x", ""),
        ("ldap_base o=x ldap_host 192.0.2.1", ""),
        ("ldap_base o=x ldap_host localhost ldap_tls ldaps", ""),
        ("ldap_base o=x ldap_tls ldaps ldap_tls_name h ldap_tls_ca_file /nowhere/x", ""),
        ("ldap_base o=x ldap_tls ldaps ldap_tls_name h ldap_tls_ca_file /etc/passwd", ""),
        ("", "ldap_bas o=x"), ("", "ldap_base"), ("", "ldap_base o=x\nldap_base o=y"),
        ("", "ldap_base o=x\nldap_port x"),
    ])
    func `what is wrong keeps the worker from starting`(
        arguments: String,
        file: String
    ) async throws {
        await #expect(throws: PluginProblems.self) {
            try await TestSession(
                [AuthLDAPBind.self],
                plugins: "auth/auth_ldap_bind \(arguments)",
                files: ["ldap": file]
            )
        }
    }

    @Test func `the file has what the line has not`() async throws {
        let server = try FakeDirectory.server(FakeDirectory.Requests(), FakeDirectory.good)
        defer { server.stop() }
        let session = try await TestSession(
            [AuthLDAPBind.self],
            plugins: "auth/auth_ldap_bind ldap_host \(server.address)",
            files: ["ldap": "# Ours.\nLDAP_BASE ou=our people,o=x\nldap_host 192.0.2.1\n"]
        )
        #expect(try await session.auth("jo", .password("secret")) == .ok)
    }
}
