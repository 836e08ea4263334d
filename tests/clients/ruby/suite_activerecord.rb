# frozen_string_literal: true

# ActiveRecord: prepared statements by text, nested transactions, batches.

require 'active_record'
require 'json'
require 'pg'
require_relative 'transcript'

# A row of the table that every suite finds.
class Todo < ActiveRecord::Base
  self.table_name = 'todo'
end

# Many rows.
class Numbered < ActiveRecord::Base
  self.table_name = 'numbered'
  self.primary_key = 'id'
end

def session(**more)
  ActiveRecord::Base.establish_connection(adapter: 'postgresql', encoding: 'unicode', options: OPTIONS, pool: 1, **more)
  ActiveRecord::Base.connection.tap { Todo.reset_column_information }
end

def refused
  yield
  note 'no error'
rescue ActiveRecord::ActiveRecordError, PG::Error => e
  result = e.cause.respond_to?(:result) && e.cause.result
  fields = [PG::PG_DIAG_SQLSTATE, PG::PG_DIAG_MESSAGE_DETAIL, PG::PG_DIAG_STATEMENT_POSITION]
  note e.class, e.message, *(result ? fields.map { |field| result.error_field(field) } : nil)
end

scenario 'connect: passwords in the clear and over tls' do
  tls = { sslmode: 'verify-full', sslrootcert: ROOT }
  [{}, { password: 'wrong' }, tls, { **tls, password: 'wrong' }, { **tls, sslrootcert: WRONG_ROOT }].each do |how|
    refused { note session(**how).select_value('SELECT current_user') }
  end
end

scenario 'types: attributes of a model' do
  connection = session
  connection.create_table(:typed) do |t|
    t.integer :small, limit: 2
    t.bigint :big
    t.float :float
    t.decimal :number, precision: 40, scale: 12
    t.text :text
    t.binary :bytes
    t.boolean :bool
    t.date :day
    t.datetime :at
    t.time :hour
    t.interval :span
    t.uuid :uuid
    t.json :json
    t.jsonb :jsonb
    t.integer :list, array: true
    t.string :nothing
  end
  typed = Class.new(ActiveRecord::Base) { self.table_name = 'typed' }
  typed.create!(
    small: -32_768, big: -2**63, float: 0.1, number: '-12345678901234567890.0123456789', text: "it's \\ é 🐘",
    bytes: (0..255).map(&:chr).join.b, bool: true, day: '2024-02-29', at: '1999-12-31 23:59:59.000001', hour: '23:59:59',
    span: 'P-3DT7S', uuid: '00000000-0000-0000-0000-000000000007', json: { a: [1, nil] }, jsonb: { a: [1, nil] }, list: [1, nil, 3]
  )
  note typed.first.attributes.transform_values { |value| value.is_a?(String) ? value.b : value.to_s }
  note connection.columns('typed').map { |column| [column.name, column.sql_type, column.null] }
  connection.drop_table(:typed)
end

scenario 'prepared: one statement a thousand times' do
  connection = session
  note(1000.times.sum { |times| Todo.create!(id: 40_000 + times, task: "row #{times}").task.length })
  note(1000.times.sum { |times| Todo.find(40_000 + times).task.length })
  note connection.select_value("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT \"todo\"%'")
  note Todo.where('id >= 40000').delete_all
end

scenario 'transaction: nested ones' do
  session
  Todo.transaction do
    Todo.create!(task: 'kept')
    Todo.transaction(requires_new: true) do
      Todo.create!(task: 'undone')
      raise ActiveRecord::Rollback
    end
    refused { Todo.transaction(requires_new: true) { Todo.create!(id: 1) } }
    Todo.create!(task: 'kept, too')
  end
  Todo.transaction(isolation: :serializable) do
    Todo.update_all(task: 'undone')
    raise ActiveRecord::Rollback
  end
  Todo.find(1).with_lock { Todo.find(1).update!(done: true) }
  note Todo.order(:id).pluck(:id, :task, :done)
end

scenario 'errors: of the server' do
  connection = session
  refused { Todo.create!(id: 1) }
  refused { connection.execute('INSERT INTO todo (id) VALUES (1)') }
  refused { connection.execute("INSERT INTO todo VALUES (9, 'é', mistake)") }
  refused { Todo.where('mistake = ?', 1).update_all(done: true) }
  refused { Todo.update_all('id = 1 / (id - id)') }
  refused { connection.exec_query('INSERT INTO nowhere VALUES (1)') }
end

scenario 'stream: in batches' do
  connection = session
  connection.execute("CREATE VIEW numbered AS SELECT n AS id, 'row ' || n AS task FROM generate_series(1, 100000) AS n")
  sum = 0
  Numbered.in_batches(of: 20_000) { |batch| batch.pluck(:id, :task).each { |id, task| sum += id + task.length } }
  note sum, Todo.insert_all((1..3).map { |n| { id: 300_000 + n, task: 'many' } }).rows
end

scenario 'context: contexts of requests' do
  connection = session
  (1..4).each do |who|
    context = { user_id: who }.to_json
    Todo.transaction do
      note connection.exec_query("SELECT set_config('bemi.context', $1, true)", 'context', [context]).rows
      Todo.create!(task: 'set_config', who: who)
    end
    Todo.transaction do
      connection.execute("SET LOCAL bemi.context = #{connection.quote(context)}")
      Todo.create!(task: 'local', who: who)
      Todo.insert_all([{ task: 'many', who: who }] * 3)
    end
    Todo.create!(task: 'of the session')
    note connection.update("UPDATE todo SET who = #{who} WHERE id = 1 /*Bemi #{context} Bemi*/")
    note Todo.annotate("Bemi #{context} Bemi").find(1).who
    Todo.where(id: 1).update_all(who: nil)
    connection.execute("SET bemi.context = #{connection.quote(context)}")
    Todo.create!(task: 'set', who: who)
    connection.execute('RESET bemi.context')
  end
end

by_driver = 'ActiveRecord leaves it to its driver'
lacks = %w[pipeline copy notify cancel].to_h { |feature| [feature, by_driver] }
run_all("ActiveRecord #{ActiveRecord.version} (ruby-pg #{PG::VERSION})", lacks)
