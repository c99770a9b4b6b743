import System

/// Certificates that the `openssl` program made for these tests, in DER.
enum MadeCertificates {
    struct Failure: Error { let name: String }

    /// An authority, one below it, one that nobody knows, and what they signed.
    private static let script = #"""
        set -e
        folder=$(mktemp -d); cd "$folder"
        key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        authority() { # NAME: signs itself
            openssl req -x509 $key -keyout $1.key -out $1.pem -subj "/O=Test/CN=$1" -days 30 \
                -addext basicConstraints=critical,CA:TRUE
        }
        issue() { # NAME AUTHORITY DAYS EXTENSIONS [OPTION]
            openssl req -new $key -keyout $1.key -out $1.csr -utf8 -subj "${subject:-/CN=$1}"
            printf "$4" > $1.ext
            openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -out $1.pem -days $3 -extfile $1.ext $5
        }
        authority root; authority other
        issue middle root 30 "basicConstraints=critical,CA:TRUE\n"
        issue plain root 30 ""
        issue client root 30 "extendedKeyUsage=clientAuth\n"
        issue server root 30 "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:mx.example.org,DNS:*.wild.example\n"
        issue below middle 30 "subjectAltName=DNS:mx.example.org\n"
        issue expired root -1 ""
        issue weak root 30 "" -sha1
        issue forged plain 30 ""
        subject=$(printf '/O=A, B\134+C/CN=J\303\274rgen\001') issue named root 30 ""
        openssl req -x509 $key -keyout lonely.key -out lonely.pem -subj /CN=lonely -days 30
        for file in *.pem; do
            printf '%s ' "${file%.pem}"
            openssl x509 -in "$file" -outform DER | od -An -v -tx1 | tr -d ' \n'
            echo
            # What a TLSA record has: NAME-SELECTOR-MATCHING.
            openssl x509 -in "$file" -outform DER -out whole-0
            openssl x509 -in "$file" -noout -pubkey | openssl pkey -pubin -outform DER -out whole-1
            for selector in 0 1; do
                printf '%s ' "${file%.pem}-$selector-0"; od -An -v -tx1 whole-$selector | tr -d ' \n'; echo
                for bits in 256 512; do
                    printf '%s ' "${file%.pem}-$selector-$((bits / 256))"
                    openssl dgst -sha$bits -r whole-$selector | cut -d ' ' -f 1
                done
            done
        done
        rm -r "$folder"
        """#

    private static let all = Result {
        let octets = try Spawn.output(
            of: ["/bin/sh", "-c", Self.script],
            within: .seconds(120),
            limit: 1_000_000
        )
        let lines = String(decoding: octets, as: UTF8.self).split(separator: "\n")
        return Dictionary(
            uniqueKeysWithValues: lines.map { line in
                let words = line.split(separator: " ")
                return (String(words[0]), Self.octets(words[1]))
            }
        )
    }

    private static func octets(_ hexadecimal: Substring) -> [UInt8] {
        let digits = Array(hexadecimal.utf8)
        return stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(decoding: digits[$0..<($0 + 2)], as: UTF8.self), radix: 16)
        }
    }

    /// What a TLSA record has for a certificate.
    static func association(_ name: String, selector: UInt8, matching: UInt8) throws -> [UInt8] {
        try self.named("\(name)-\(selector)-\(matching)")
    }

    /// The certificate with this name in the script.
    static func named(_ name: String) throws -> [UInt8] {
        guard let found = try self.all.get()[name] else { throw Failure(name: name) }
        return found
    }

    static func named(_ names: [String]) throws -> [[UInt8]] {
        try names.map { try self.named($0) }
    }
}
