// What a plugin needs to name the types of PolicyKit's own interface.

@_exported public import Logging
@_exported public import PolicyProtocol
