import Testing

@testable import Configuration

@Suite struct PluginsFileTests {
    let folder = TestFolder()

    func load(_ text: String) throws -> [PluginLine] {
        self.folder.write("plugins", text)
        return try PluginsFile.load(directories: [self.folder.path]).lines
    }

    func problems(_ text: String) -> [String] {
        self.folder.write("plugins", text)
        return ConfigurationTests.problems(in: self.folder) { () throws(ConfigurationErrors) in
            try PluginsFile.load(directories: [self.folder.path])
        }
    }

    @Test func `the article's file is read in order`() throws {
        let lines = try self.load(
            """
            # quit_fortune

            check_earlytalker
              count_unrecognized_commands 4\t
            require_resolvable_fromhost\r
            spamassassin reject 12 spamd_socket 127.0.0.1:783  # not a comment
            """
        )
        #expect(
            lines.map(\.name) == [
                "check_earlytalker", "count_unrecognized_commands", "require_resolvable_fromhost",
                "spamassassin",
            ]
        )
        #expect(lines.map(\.line) == [3, 4, 5, 6])
        #expect(lines[1].arguments == ["4"])
        #expect(lines[2].arguments == [])
        #expect(lines[3].arguments.suffix(4) == ["#", "not", "a", "comment"])
        #expect(lines[0].file == "\(self.folder.path)/plugins")
    }

    @Test func `a quoted argument is one argument`() throws {
        let lines = try self.load(#"spamassassin subject_prefix "*** ä \" \\ \n" key="a b"c """#)
        #expect(lines[0].arguments == ["subject_prefix", #"*** ä " \ \n"#, "key=a bc", ""])
    }

    @Test(arguments: [
        ("relay:0", "relay", "0"), ("ident/p0f:3", "ident/p0f", "3"),
        ("My::Module", "My::Module", nil),
        ("My::7", "My::7", nil), ("relay:", "relay:", nil), ("relay:x", "relay:x", nil),
    ])
    func `digits after a colon are the instance`(
        word: String,
        name: String,
        instance: String?
    ) throws {
        let line = try #require(try self.load(word).first)
        #expect(line.name == name)
        #expect(line.instance == instance)
        #expect(line.label == word)
    }

    @Test func `all mistakes are found at once, each with its line`() {
        #expect(
            self.problems("relay\nspamassassin prefix ä\nbadhelo \"x\n\"\" y\nrelay\n$include no\n")
                == [
                    "config/plugins:2: U+E4 is not ASCII; put the argument into double quotes, "
                        + "or write it in ASCII",
                    "config/plugins:3: a quote is not closed; close it with \"",
                    "config/plugins:4: no plugin is named; begin the line with its name",
                    "config/plugins:5: relay is already in config/plugins:1; number it (relay:2), "
                        + "or remove one",
                    "config/plugins:6: $include no: no such file in config; make the file, "
                        + "or remove the line",
                ]
        )
    }

    @Test func `no file is a mistake`() {
        let found = ConfigurationTests.problems(in: self.folder) { () throws(ConfigurationErrors) in
            try PluginsFile.load(directories: [self.folder.path])
        }
        #expect(found.count == 1)
    }

    @Test func `two instances of one plugin are two`() throws {
        #expect(try self.load("relay:1\nrelay:2 only\nrelay\n").map(\.label).count == 3)
    }
}
