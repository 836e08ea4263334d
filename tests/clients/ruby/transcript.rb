# frozen_string_literal: true

# Prints what a driver sees, scenario by scenario.
module Transcript
  CONTEXT = ENV.fetch('BEMI_CONTEXT', '')

  # Options that a session starts with.
  OPTIONS = CONTEXT.empty? ? '' : "-c bemi.context=#{CONTEXT}"

  ROOT, WRONG_ROOT = ENV.values_at('BEMI_ROOT_CERT', 'BEMI_WRONG_ROOT_CERT')

  SCENARIOS = []

  def note(*values)
    puts values.map(&:inspect).join(' ')
  end

  def scenario(sentence, &block)
    SCENARIOS << [sentence, block]
  end

  # Runs all scenarios; the exit code says whether all of them came to their end.
  def run_all(driver, lacks)
    puts "! #{driver}"
    lacks.each { |feature, why| puts "- #{feature}: #{why}" }
    failed = SCENARIOS.count do |sentence, block|
      puts "# #{sentence}"
      block.call
      false
    rescue StandardError => e
      puts 'FAILED'
      warn "#{sentence}: #{e.full_message(highlight: false)}"
      true
    end
    exit(failed.zero? ? 0 : 1)
  end
end

Encoding.default_external = Encoding.default_internal = Encoding::UTF_8
$stdout.sync = true
include Transcript
