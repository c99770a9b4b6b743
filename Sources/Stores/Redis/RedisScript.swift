import Crypto

/// What a server does in one step: a script in Lua, called by its digest.
struct RedisScript: Sendable {
    let text: [UInt8]
    /// SHA-1 of the text in hexadecimal digits, as EVALSHA wants it.
    let digest: [UInt8]

    init(_ text: String) {
        self.text = Array(text.utf8)
        let digits = Array("0123456789abcdef".utf8)
        self.digest = Insecure.SHA1.hash(data: self.text).flatMap { octet in
            [digits[Int(octet >> 4)], digits[Int(octet & 0xF)]]
        }
    }

    /// Value and milliseconds left of a key, nothing if there is none; -1 is without end.
    static let entry = Self(
        """
        local v = redis.call('GET', KEYS[1])
        if not v then return false end
        return {v, redis.call('PTTL', KEYS[1])}
        """
    )

    /// Adds ARGV[1]; a new counter gets the lifetime ARGV[2] in milliseconds, without end if that is empty.
    ///
    /// The sum is read again, because numbers in Lua have 53 bits.
    static let add = Self(
        """
        local n = redis.call('EXISTS', KEYS[1])
        redis.call('INCRBY', KEYS[1], ARGV[1])
        local v = redis.call('GET', KEYS[1])
        if n == 0 and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
        return v
        """
    )

    /// Compares with ARGV[2], or with no entry if ARGV[1] is 0; then sets ARGV[4], or removes the key if ARGV[3] is
    /// 0, with the lifetime ARGV[5].
    ///
    /// 1 for done; else 0, and the value if there is one.
    static let compareAndSet = Self(
        """
        local v = redis.call('GET', KEYS[1])
        if ARGV[1] == '0' then
          if v then return {0, v} end
        elseif not v then
          return {0}
        elseif v ~= ARGV[2] then
          return {0, v}
        end
        if ARGV[3] == '0' or ARGV[5] == '0' then
          redis.call('DEL', KEYS[1])
        elseif ARGV[5] == '' then
          redis.call('SET', KEYS[1], ARGV[4])
        else
          redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
        end
        return {1}
        """
    )
}
