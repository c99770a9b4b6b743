import Glibc
import System

extension ProcessUser {
    /// Reads `user` and `group`; `nil` without `user`, or if one of them is wrong.
    init?(reading reader: TOMLReader) {
        let group = reader.string("group")
        guard let name = reader.string("user") else {
            if group != nil {
                reader.report(
                    "group",
                    "there is no user to go with it",
                    remedy: "write user = \"gatepost\", or remove the line"
                )
            }
            return nil
        }
        let entry = getpwnam(name) ?? UInt32(name).flatMap { getpwuid($0) }
        guard let userID = entry.map({ UInt32($0.pointee.pw_uid) }) ?? UInt32(name) else {
            reader.report(
                "user",
                "there is no user \"\(name)\"",
                remedy: "make the user, or write its number"
            )
            return nil
        }
        guard userID != 0 else {
            reader.report(
                "user",
                "\"\(name)\" is root",
                remedy: "name a user without rights, or remove the line"
            )
            return nil
        }
        let entryName = entry.map { String(cString: $0.pointee.pw_name) }
        let ownGroup = entry.map { UInt32($0.pointee.pw_gid) }
        guard let groupID = Self.groupID(group, of: reader, ownGroup) else { return nil }
        self.init(
            name: entryName ?? name,
            userID: userID,
            groupID: groupID,
            hasEntry: entryName != nil
        )
    }

    private static func groupID(
        _ name: String?,
        of reader: TOMLReader,
        _ ownGroup: UInt32?
    ) -> UInt32? {
        guard let name else {
            if ownGroup == nil {
                reader.report(
                    "user",
                    "the system has no entry for this number, and so no group",
                    remedy: "write group as well"
                )
            }
            return ownGroup
        }
        guard let id = getgrnam(name).map({ UInt32($0.pointee.gr_gid) }) ?? UInt32(name) else {
            reader.report(
                "group",
                "there is no group \"\(name)\"",
                remedy: "make the group, or write its number"
            )
            return nil
        }
        return id
    }
}
