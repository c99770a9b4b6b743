# frozen_string_literal: true

require_relative "helper"

# The signatures name the methods that there are, and the tables of README.md too.
class SignaturesTest < Minitest::Test
  CLASSES = [Gatepost::Verdict, Gatepost::Address, Gatepost::Header, Gatepost::MessageStream, Gatepost::Transaction, Gatepost::Session,
             Gatepost::Event, Gatepost::Connection, Gatepost::Worker, Gatepost::ControlFile, Gatepost::TestSession].freeze
  # Not for authors: the Worker's side of an event, and what Ruby itself calls.
  INTERNAL = { Gatepost::Verdict => %i[== inspect to_s], Gatepost::Address => %i[inspect to_s],
               Gatepost::Event => %i[author cancel handler_seconds heard inspect message_of sender_of_progress=],
               Gatepost::Worker => %i[ask handlers later] }.freeze

  def test_every_public_method_has_a_signature
    text = File.read("#{SDK}/sig/gatepost.rbs")
    CLASSES.each do |klass|
      body = text[/^  class #{klass.name.split('::').last}\b.*?^  end$/m]
      named = body.scan(/^    def ([\w?!]+):/).flatten + body.scan(/^    attr_reader ([\w?]+):/).flatten
      body.scan(/^    attr_accessor (\w+):/) { |(name)| named.push(name, "#{name}=") }
      public = klass.public_instance_methods(false) - INTERNAL.fetch(klass, [])
      assert_equal public.map(&:to_s).sort, (named - ["initialize"]).uniq.sort, klass.name
    end
  end
end
