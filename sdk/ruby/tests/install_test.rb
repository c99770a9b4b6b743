# frozen_string_literal: true

require "open3"
require "tmpdir"
require_relative "helper"

# An author's first hour: install, copy the worker of README.md and its test, run it.
class InstallTest < Minitest::Test
  def run_in(folder, command)
    environment = { "GEM_HOME" => "#{folder}/gems", "RUBYLIB" => nil, "RUBYOPT" => nil, "HOME" => folder }
    said, status = Open3.capture2e(environment, "bash", "-c", "set -euo pipefail; #{command}", chdir: folder)
    [status.success?, said]
  end

  def tree(folder)
    Dir.glob("#{folder}/sdk/**/*").sort
  end

  def test_readme_works_as_it_stands
    readme = File.read("#{SDK}/README.md")
    worker, test = readme.scan(/^```ruby\n(.*?)^```$/m).flatten
    assert_equal File.read("#{SDK}/examples/worker.rb"), worker
    install = readme[/^```sh\n(.*?)^```$/m, 1]
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p("#{folder}/sdk")
      FileUtils.cp_r(SDK, "#{folder}/sdk/ruby")
      before = tree(folder)
      assert(*run_in(folder, install))
      assert_equal before, tree(folder)
      FileUtils.rm_rf("#{folder}/sdk")
      File.write("#{folder}/worker.rb", worker)
      File.write("#{folder}/worker_test.rb", test)
      passed, said = run_in(folder, "ruby worker_test.rb")
      assert passed, said
      assert_match(/1 runs, 4 assertions, 0 failures, 0 errors/, said)

      File.write("#{folder}/worker.rb", worker.sub('"X-Seen-By"', '"X:Seen"'))
      passed, said = run_in(folder, "ruby worker_test.rb")
      refute passed
      assert_match(/1 errors/, said)
      assert_match(/mark at data_post_headers: header_name: actions\[0\]\.name: "X:Seen"/, said)
    end
  end
end
