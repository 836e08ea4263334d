# A to-do list with Rails, in one file. Every row change carries who asked for it, and by which request.
#   gem install rails pg puma     (or, on Debian: apt install ruby-railties ruby-activerecord ruby-pg puma)
#   DATABASE_URL=postgresql://... puma --bind tcp://127.0.0.1:3000 config.ru
#
# For every Rails since 6.1. From 7.1 on, query_log_tags say as much without transactions: see README.md of bemi.

require "rails"
require "action_controller/railtie"
require "active_record/railtie"

class TodoApp < Rails::Application
  config.eager_load = true
  config.consider_all_requests_local = false
  config.logger = Logger.new($stderr, level: :warn)
  config.secret_key_base = ENV.fetch("SECRET_KEY_BASE", "only for this example")
  config.hosts.clear

  routes.append do
    resources :todos, only: [:create, :update, :destroy] do
      post :import, on: :collection
    end
  end
end

class Todo < ActiveRecord::Base
  self.table_name = "todo"
end

class ApplicationController < ActionController::API
  around_action :with_context

  private

  # The whole action is one transaction, and the setting belongs to it: it ends with it, committed or not, and whoever gets
  # the connection next finds nothing.
  def with_context
    context = { user_id: user_id, endpoint: request.path, method: request.request_method }.compact.to_json
    ActiveRecord::Base.transaction do
      connection = ActiveRecord::Base.connection
      connection.execute("SELECT set_config('bemi.context', #{connection.quote(context)}, true)")
      yield
    end
  end

  # Your authentication goes here.
  def user_id
    request.headers["X-User-Id"]&.to_i
  end
end

# From here on nothing knows of contexts.
class TodosController < ApplicationController
  def create
    render json: Todo.create!(task: params[:task], author: user_id), status: :created
  end

  # All of them, or none.
  def import
    render json: params[:tasks].map { |task| Todo.create!(task: task, author: user_id) }, status: :created
  end

  def update
    todo = Todo.find(params[:id])
    todo.update!(done: params[:done])
    render json: todo
  end

  def destroy
    Todo.find(params[:id]).destroy!
    head :no_content
  end
end

TodoApp.initialize!
# What config/database.yml says in an application of more files.
ActiveRecord::Base.establish_connection(url: ENV.fetch("DATABASE_URL"), pool: ENV.fetch("POOL_SIZE", 10))
run TodoApp
