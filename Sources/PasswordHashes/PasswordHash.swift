internal import CCrypt

/// What crypt(5) keeps of a password: method, cost, salt and hash in one text, as in `/etc/shadow`.
package struct PasswordHash: Sendable, Equatable {
    /// Why a text is no hash that can be checked.
    package enum Unusable: Error, Equatable {
        /// It begins with no method that is known.
        case unknown
        /// The method is known and too weak: md5crypt, sha1crypt, NT and the like.
        case weak
        /// It is cut short, too long, or has characters that no hash has.
        case malformed
    }

    /// The library could not compute the hash, for example with a cost that it does not take.
    package struct Failure: Error, Equatable {}

    /// The longest password that is looked at, in octets: the library takes no longer one.
    ///
    /// With bcrypt (`$2b$`) the first 72 octets count.
    package static let maximumPasswordOctets = 512

    /// How many characters follow the last `$`, by method.
    private static let methods: [(prefix: String, tail: Int)] = [
        ("$y$", 43), ("$gy$", 43), ("$7$", 43), ("$2b$", 53), ("$2y$", 53), ("$2a$", 53),
        ("$6$", 86),
        ("$5$", 43),
    ]
    private static let weakPrefixes = ["$1$", "$sha1", "$md5", "$3$", "$2x$"]

    private let text: String

    /// A hash of yescrypt (`$y$`), gost-yescrypt (`$gy$`), scrypt (`$7$`), bcrypt (`$2b$`, `$2y$`, `$2a$`),
    /// SHA-512 (`$6$`) or SHA-256 (`$5$`).
    ///
    /// Nothing is computed: a cost that the library does not take shows in ``matches(_:)``.
    package init(_ text: String) throws(Unusable) {
        guard let method = Self.methods.first(where: { text.hasPrefix($0.prefix) }) else {
            throw Self.weakPrefixes.contains { text.hasPrefix($0) } ? .weak : .unknown
        }
        let tail = text.utf8.reversed().prefix { $0 != UInt8(ascii: "$") }
        guard tail.count == method.tail, tail.allSatisfy(Self.isDigit),
            text.utf8.count < Int(CRYPT_OUTPUT_SIZE), Self.isSetting(text)
        else { throw .malformed }
        self.text = text
    }

    /// Whether this is the hash of `password`.
    ///
    /// Takes from 2 to 500 milliseconds of the processor's time by method and cost, so never on an event
    /// loop. The memory that it used is overwritten.
    ///
    /// - Throws: ``Failure`` if the library cannot compute it.
    package func matches(_ password: [UInt8]) throws(Failure) -> Bool {
        guard password.count <= Self.maximumPasswordOctets, !password.contains(0) else {
            return false
        }
        let room = MemoryLayout<crypt_data>.size
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 16)
        var phrase = password.map { CChar(bitPattern: $0) } + [0]
        defer {
            gatepost_wipe(memory.baseAddress, room)
            memory.deallocate()
            phrase.withUnsafeMutableBytes { gatepost_wipe($0.baseAddress, $0.count) }
        }
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        guard let computed = crypt_rn(phrase, self.text, memory.baseAddress, Int32(room)) else {
            throw Failure()
        }
        return Self.areEqual(Array(String(cString: computed).utf8), Array(self.text.utf8))
    }

    /// Takes time by the length of `computed` alone.
    private static func areEqual(_ computed: [UInt8], _ text: [UInt8]) -> Bool {
        guard computed.count == text.count else { return false }
        return zip(computed, text).reduce(UInt8(0)) { $0 | $1.0 ^ $1.1 } == 0
    }

    /// Whether the library knows method, cost and salt.
    private static func isSetting(_ text: String) -> Bool {
        switch crypt_checksalt(text) {
        case CRYPT_SALT_INVALID, CRYPT_SALT_METHOD_DISABLED: false
        default: true
        }
    }

    /// `./0-9A-Za-z`, what a hash is written with.
    private static func isDigit(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x2e...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: false
        }
    }
}
