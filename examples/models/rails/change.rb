# frozen_string_literal: true

# The table `changes`, which bemi track makes and fills, for ActiveRecord. Goes to app/models/change.rb; an application reads
# it only. Keep it out of schema.rb: ActiveRecord::SchemaDumper.ignore_tables += %w[changes changes_progress changes_gaps]
class Change < ActiveRecord::Base
  # The key of the table may be (id, committed_at), where it is partitioned; id alone is unique all the same.
  self.primary_key = 'id'

  scope :oldest_first, -> { order(:committed_at, :id) }
  scope :newest_first, -> { order(committed_at: :desc, id: :desc) }

  # Made in a context that has all of this. `@>` is what the index serves; context ->> 'user_id' reads the whole table.
  scope :in_context, ->(context) { where('changes.context @> ?', context.to_json) }

  # Of one table, named or given as its model.
  scope :of, lambda { |table, schema: 'public'|
    where(schema: schema, table: table.respond_to?(:table_name) ? table.table_name : table)
  }

  # CREATE, UPDATE, DELETE and TRUNCATE make no enum: its `create` would be ActiveRecord's own.
  scope :deletions, -> { where(operation: 'DELETE') }

  # All changes of one record, oldest first. primary_key is text: one column as it is, several as a JSON array, [1,"a"].
  def self.history(table, primary_key, schema: 'public')
    find_by_sql(['SELECT * FROM changes_history(?, ?, ?)', table, primary_key.to_s, schema])
  end

  # The record as it was at that time, as a hash; nil where it was not there.
  def self.as_of(table, primary_key, time, schema: 'public')
    # to_s would round a time to the second.
    sql = sanitize_sql(['SELECT changes_as_of(?, ?, ?, ?)', table, primary_key.to_s, time.iso8601(6), schema])
    row = connection.select_value(sql)
    row && JSON.parse(row)
  end

  Difference = Struct.new(:column, :before, :after, :known)

  # The columns that this change changed; `known` is false where the log has no old value.
  def diff
    sql = 'SELECT d.* FROM changes c CROSS JOIN LATERAL changes_diff(c) d WHERE c.id = ?'
    self.class.connection.select_all(self.class.sanitize_sql([sql, id])).cast_values.map { |row| Difference.new(*row) }
  end

  def readonly?
    true
  end
end
