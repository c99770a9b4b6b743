// What a plugin needs to name the types of PolicyKit's own interface: Hook, Verdict, PolicyReply, the
// parts of an event, JSONValue, Logger.

@_exported public import JSON
@_exported public import Logging
@_exported public import PolicyProtocol
@_exported public import Stores

@_exported public import struct Addresses.IPAddress
@_exported public import struct Addresses.IPNetwork
@_exported public import enum DNSResolver.DNSAnswer
@_exported public import enum DNSResolver.DNSFailure
@_exported public import struct DNSResolver.DNSLookup
@_exported public import enum DNSResolver.DNSRecord
@_exported public import enum DNSResolver.DNSRecordType
@_exported public import struct DNSResolver.TLSARecord
@_exported public import struct DomainNames.DNSName
