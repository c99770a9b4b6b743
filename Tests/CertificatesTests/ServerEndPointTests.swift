import Certificates
import Testing

struct ServerEndPointTests {
    /// A certificate as far as its signature's algorithm: that stands behind 130 octets of another field.
    private static func certificate(_ algorithm: [UInt8]) -> [UInt8] {
        func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
            content.count < 0x80
                ? [tag, UInt8(content.count)] + content
                : [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
        }
        let signed = element(0x30, [UInt8](repeating: 0x30, count: 130))
        let identifier = element(0x30, element(0x06, algorithm) + [0x05, 0x00])
        return element(0x30, signed + identifier + element(0x03, [0, 1, 2]))
    }

    private static let rsa: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01]
    private static let ecdsa: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04]

    /// The object identifier of a signature, and the octets of its digest.
    static let algorithms: [([UInt8], Int?)] = [
        (rsa + [4], 32), (rsa + [5], 32), (rsa + [11], 32), (rsa + [12], 48), (rsa + [13], 64),
        (ecdsa + [1], 32), (ecdsa + [3, 2], 32), (ecdsa + [3, 3], 48), (ecdsa + [3, 4], 64),
        // RSASSA-PSS, Ed25519, and what there is not.
        (rsa + [10], nil), ([0x2B, 0x65, 0x70], nil), (rsa, nil), (rsa + [11, 0], nil), ([], nil),
    ]

    @Test(arguments: algorithms)
    func `the digest is that of the signature`(algorithm: [UInt8], octets: Int?) {
        let certificate = Self.certificate(algorithm)
        #expect(ServerEndPoint.endPoint(of: certificate)?.count == octets)
    }

    @Test func `what is cut short, or no certificate, has none`() {
        let certificate = Self.certificate(Self.rsa + [11])
        for count in certificate.indices {
            #expect(ServerEndPoint.endPoint(of: Array(certificate[..<count])) == nil)
        }
        for (index, octet) in [(0, 0x31), (1, 0x80), (1, 0x85), (1, 0xFF), (4, 0x31)] {
            var other = certificate
            other[index] = UInt8(octet)
            #expect(ServerEndPoint.endPoint(of: other) == nil)
        }
    }
}
