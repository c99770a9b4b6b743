# frozen_string_literal: true

require_relative "gatepost/version"
require_relative "gatepost/connection"
require_relative "gatepost/control"
require_relative "gatepost/verdict"
require_relative "gatepost/worker"
