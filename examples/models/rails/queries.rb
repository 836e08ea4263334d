# frozen_string_literal: true

# The questions one asks of the table `changes`, with ActiveRecord. The answers are those of the example in ../README.md.
#   DATABASE_URL=postgresql://... ruby queries.rb

require 'active_record'
require_relative 'change'

ActiveRecord::Base.establish_connection(ENV.fetch('DATABASE_URL'))

def show(question, found, expected)
  puts question, "  #{found.inspect}"
  abort "WRONG, expected #{expected.inspect}" unless found == expected
end

def what(change)
  "#{change.operation} #{change.primary_key}"
end

of_user = Change.in_context(user_id: 187_234).newest_first.limit(100)
show 'What did user 187234 change, newest first?', of_user.map { |c| what(c) }, ['CREATE 2', 'UPDATE 1', 'CREATE 1']

of_todo = Change.history('todo', 1)
show 'What happened to todo 1?', of_todo.map { |c| what(c) }, ['CREATE 1', 'UPDATE 1']

at_first = Change.as_of('todo', 1, of_todo.first.committed_at)
show 'What was todo 1 at first?', at_first, { 'id' => 1, 'done' => false, 'task' => 'Sleep' }

show 'What did the update change?', of_todo.last.diff.map(&:to_a), [['task', 'Sleep', 'Eat', true]]

of_request = Change.in_context(request_id: 'r-2').oldest_first
show 'What did request r-2 change?', of_request.map { |c| what(c) }, ['UPDATE 1', 'CREATE 2']

gone = Change.of('todo').deletions.newest_first.map { |c| [c.before['task'], c.context['user_id']] }
show 'What was deleted, and by whom?', gone, [['Repeat', 42]]
