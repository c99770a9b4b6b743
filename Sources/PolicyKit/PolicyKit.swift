@_exported public import PolicyProtocol
