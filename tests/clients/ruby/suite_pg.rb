# frozen_string_literal: true

# pg: libpq for Ruby, with both formats, COPY, pipelines, single-row mode and its own type maps.

require 'pg'
require_relative 'transcript'

def session(**more)
  connection = PG.connect(options: OPTIONS, **more)
  return connection unless block_given?

  begin
    yield connection
  ensure
    connection.close
  end
end

def refused
  yield
  note 'no error'
rescue PG::Error => e
  fields = [PG::PG_DIAG_SQLSTATE, PG::PG_DIAG_MESSAGE_PRIMARY, PG::PG_DIAG_MESSAGE_DETAIL, PG::PG_DIAG_STATEMENT_POSITION]
  note e.class, *(e.result ? fields.map { |field| e.result.error_field(field) } : e.message)
end

scenario 'connect: passwords in the clear and over tls' do
  tls = { sslmode: 'verify-full', sslrootcert: ROOT }
  attempts = [{}, { password: 'wrong' }, tls, { **tls, channel_binding: 'require' }, { **tls, password: 'wrong' }]
  [*attempts, { **tls, sslrootcert: WRONG_ROOT }].each do |how|
    refused { session(**how) { |connection| note connection.ssl_in_use?, connection.exec('SELECT current_user').values } }
  end
end

scenario 'types: there and back' do
  values = [
    ['int2', -32_768], ['int4', 2**31 - 1], ['int8', -2**63], ['float4', 1.5], ['float8', -Float::INFINITY],
    ['numeric', '-12345678901234567890.01234567890'], ['text', "it's \\ é 🐘"], ['bool', true], ['date', '2024-02-29'],
    ['time', '23:59:59.999999'], ['timestamptz', '2024-02-29 12:00:00+00'], ['interval', '-3 days 7 seconds'],
    ['uuid', '00000000-0000-0000-0000-000000000007'], ['json', '{"a": [1, null]}'], ['jsonb', '{"a": [1, null]}'],
    ['int4[]', [1, nil, 3]], ['text', nil]
  ]
  session do |connection|
    connection.type_map_for_queries = PG::BasicTypeMapForQueries.new(connection)
    connection.type_map_for_results = PG::BasicTypeMapForResults.new(connection)
    values.each { |type, value| note type, connection.exec_params("SELECT $1::#{type}", [value]).values }
    connection.type_map_for_queries = PG::TypeMapAllStrings.new
    bytes = (0..255).map(&:chr).join.b
    binary = connection.exec_params('SELECT $1::bytea', [{ value: bytes, format: 1 }], 1)
    note binary.getvalue(0, 0) == bytes, binary.fformat(0), binary.ftype(0)
  end
end

scenario 'prepared: one statement a thousand times' do
  session do |connection|
    { 'put' => 'INSERT INTO todo (task) VALUES ($1) RETURNING length(task)', 'read' => 'SELECT length($1)' }.each do |name, sql|
      connection.prepare(name, sql)
      note(1000.times.sum { |times| connection.exec_prepared(name, ["row #{times}"]).getvalue(0, 0).to_i })
    end
    refused { connection.prepare('put', 'SELECT 1') }
    connection.exec('DEALLOCATE ALL')
    refused { connection.exec_prepared('put', ['gone']) }
    note connection.exec('DELETE FROM todo WHERE id > 5').cmd_tuples
  end
end

scenario 'transaction: commits and savepoints' do
  session do |connection|
    connection.transaction do
      connection.exec_params('INSERT INTO todo (task) VALUES ($1)', ['kept'])
      connection.exec('SAVEPOINT one')
      refused { connection.exec_params('INSERT INTO todo (id) VALUES ($1)', [1]) }
      refused { connection.exec_params('INSERT INTO todo (task) VALUES ($1)', ['in a failed one']) }
      note connection.transaction_status
      connection.exec('ROLLBACK TO one')
      connection.exec_params('INSERT INTO todo (task) VALUES ($1)', ['kept, too'])
    end
    refused do
      connection.transaction do
        connection.exec("UPDATE todo SET task = 'undone'")
        raise PG::Error, 'given up'
      end
    end
    note connection.transaction_status, connection.exec('SELECT task FROM todo ORDER BY id').column_values(0)
  end
end

scenario 'pipeline: pipeline mode' do
  session do |connection|
    connection.enter_pipeline_mode
    insert = 'INSERT INTO todo (id, task) VALUES ($1, $2) RETURNING task'
    [20_001, 20_002, 20_001, 20_003].each { |id| connection.send_query_params(insert, [id, 'piped']) }
    connection.pipeline_sync
    connection.send_query_params(insert, [20_004, 'after'])
    connection.pipeline_sync
    syncs = 0
    while syncs < 2
      result = connection.get_result
      syncs += 1 if result&.result_status == PG::PGRES_PIPELINE_SYNC
      note(*(result ? [result.res_status(result.result_status), result.cmd_status, result.error_message, result.ntuples] : nil))
    end
    connection.exit_pipeline_mode
    note connection.exec('DELETE FROM todo WHERE id > 20000').cmd_tuples
  end
end

scenario 'copy: copies in and out' do
  session do |connection|
    encoder = PG::TextEncoder::CopyRow.new
    copy = lambda do |ids|
      connection.copy_data('COPY todo (id, task) FROM STDIN', encoder) { ids.each { |id| connection.put_copy_data([id, "é\t"]) } }
    end
    note copy.call(30_001..35_000).cmd_status
    refused { copy.call([30_001]) }
    refused { connection.copy_data('COPY todo (id, task) FROM STDIN') { raise PG::Error, 'given up' } }
    size = 0
    connection.copy_data('COPY (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT') do
      while (line = connection.get_copy_data)
        size += line.bytesize
      end
    end
    note size, connection.exec('DELETE FROM todo WHERE id > 30000').cmd_tuples
  end
end

scenario 'notify: notifications and notices' do
  session do |connection|
    connection.set_notice_processor { |message| note message }
    connection.exec("LISTEN changed; DO $$ BEGIN RAISE WARNING 'careful'; END $$")
    connection.exec("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'; NOTIFY changed, 'two'")
    2.times { connection.wait_for_notify(5) { |channel, pid, payload| note channel, pid == connection.backend_pid, payload } }
  end
end

scenario 'cancel: another thread' do
  session do |connection|
    asleep = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    thread = Thread.new do
      session { |other| sleep(0.02) while other.exec(asleep).ntuples.zero? }
      connection.cancel
    end
    refused { connection.exec_params('INSERT INTO todo (task) SELECT pg_sleep($1)::text', [60]) }
    note thread.value, connection.exec("INSERT INTO todo (task) VALUES ('after')").cmd_tuples
  end
end

scenario 'errors: in both protocols' do
  session do |connection|
    [
      'INSERT INTO todo (id) VALUES (1)', "INSERT INTO todo VALUES (9, 'é', mistake)",
      'UPDATE todo SET id = 1 / (id - id)', 'UPDATE todo SET'
    ].each do |sql|
      refused { connection.exec(sql) }
      refused { connection.exec_params(sql, []) }
    end
    refused { connection.exec('SELECT 1; INSERT INTO todo VALUES (9, mistake)') }
    refused { connection.exec_params('INSERT INTO todo (id) VALUES ($1)', []) }
  end
end

scenario 'stream: single-row mode' do
  session do |connection|
    connection.send_query("SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n")
    connection.set_single_row_mode
    sum = 0
    connection.get_result.stream_each_row { |number, text| sum += number.to_i + text.length }
    note sum, connection.get_result
  end
end

scenario 'context: contexts of requests' do
  session do |connection|
    connection.prepare('put', 'INSERT INTO todo (task, who) VALUES ($1, $2)')
    (1..4).each do |who|
      context = %({"user_id": #{who}})
      connection.transaction do
        note connection.exec_params("SELECT set_config('bemi.context', $1, true)", [context]).values
        connection.exec_prepared('put', ['set_config', who])
      end
      connection.transaction do
        connection.exec("SET LOCAL bemi.context = '#{context}'")
        connection.exec_prepared('put', ['local', who])
      end
      connection.exec_prepared('put', ['of the session', nil])
      connection.exec_params("/*Bemi #{context} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)", ['comment', who])
      connection.exec("SET bemi.context = '#{context}'")
      connection.exec_prepared('put', ['set', who])
      connection.exec('RESET bemi.context')
    end
  end
end

version = PG.library_version
run_all("ruby-pg #{PG::VERSION} (libpq #{version / 10_000}.#{version % 10_000})", {})
