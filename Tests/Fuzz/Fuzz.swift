import Glibc

/// Plays inputs against one target: those of a corpus, or, in a build for it, ones that libFuzzer makes.
///
///     fuzz TARGET FILE...              plays each file once
///     fuzz TARGET [-option...] FOLDER  in a build with GATEPOST_FUZZ=1: libFuzzer's own command line
///
/// A broken promise ends the process with what was broken. `scripts/fuzz` builds, runs and keeps corpora.
@main
enum Fuzz {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        guard let name = arguments.first, let target = FuzzTarget.named(name) else {
            print("usage: fuzz \(FuzzTarget.all.map(\.name).joined(separator: "|")) FILE...")
            exit(64)
        }
        #if FUZZING
        runFuzzer(target, Array(arguments.dropFirst()))
        #else
        for path in arguments.dropFirst() { target.play(contents(of: path)) }
        print("\(name): \(arguments.count - 1) inputs played")
        #endif
    }

    private static func contents(of path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else {
            print("fuzz: \(path): \(String(cString: strerror(errno)))")
            exit(66)
        }
        defer { fclose(file) }
        var octets: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { return octets }
            octets += buffer[..<count]
        }
    }
}

/// A promise that holds for every input.
func promise(_ isKept: Bool, _ text: @autoclosure () -> String) {
    if isKept { return }
    let line = Array("broken promise: \(text())\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    abort()
}

#if FUZZING
/// libFuzzer's entry for programs that have a main of their own.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ play: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What a C function cannot capture; written once, before the first input.
private nonisolated(unsafe) var chosen: FuzzTarget?

private func runFuzzer(_ target: FuzzTarget, _ options: [String]) {
    chosen = target
    var arguments: [UnsafeMutablePointer<CChar>?] = (["fuzz"] + options).map { strdup($0) }
    arguments.append(nil)
    var count = CInt(arguments.count - 1)
    let code = arguments.withUnsafeMutableBufferPointer { buffer in
        var start = buffer.baseAddress
        return runDriver(&count, &start) { octets, count in
            chosen?.play(Array(UnsafeBufferPointer(start: octets, count: count)))
            return 0
        }
    }
    exit(code)
}
#endif
