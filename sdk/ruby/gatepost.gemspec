# frozen_string_literal: true

require_relative "lib/gatepost/version"

Gem::Specification.new do |spec|
  spec.name = "gatepost"
  spec.version = Gatepost::VERSION
  spec.summary = "Policy workers for the Gatepost SMTP server"
  spec.authors = ["Gatepost"]
  spec.license = "Apache-2.0"
  spec.required_ruby_version = ">= 3.1"
  spec.files = Dir.chdir(__dir__) { Dir["lib/**/*.rb", "sig/*.rbs", "README.md"] }
end
