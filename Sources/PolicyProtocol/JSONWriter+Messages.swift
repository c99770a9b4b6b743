import JSON

// What the lines of both sides are made of.

extension JSONWriter {
    mutating func beginMessage(_ type: StaticString) {
        self.beginObject()
        self.member("type", word: type)
    }

    mutating func endMessage() {
        self.endObject()
        self.newline()
    }

    /// `ping` or `pong`.
    mutating func message(_ type: StaticString, _ number: Int64) {
        self.beginMessage(type)
        self.member("n", number)
        self.endMessage()
    }

    mutating func bye(_ code: String, message: String) {
        self.beginMessage("bye")
        self.member("code", code)
        self.member("message", message)
        self.endMessage()
    }

    mutating func member(_ key: StaticString, octets: [UInt8]) {
        self.key(key)
        self.bytes(octets)
    }

    mutating func member(_ key: StaticString, _ number: Int64) {
        self.key(key)
        self.int(number)
    }

    mutating func member(_ key: StaticString, word: StaticString) {
        self.key(key)
        self.word(word)
    }

    mutating func member(_ key: StaticString, _ text: String) {
        self.key(key)
        self.string(text)
    }

    mutating func member(_ key: StaticString, _ texts: [String]) {
        self.key(key)
        self.beginArray()
        for text in texts { self.string(text) }
        self.endArray()
    }
}
