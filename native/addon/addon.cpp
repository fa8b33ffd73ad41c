// The Node addon: `striped-native.d.ts` over the engine's API.
#include <napi.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "striped/engine.h"
#include "striped/error.h"

namespace {

// One run a process; requestStop() speaks to it.
std::atomic<bool> stop{false};

Napi::Value to_error(Napi::Env env, const std::string& message, const std::string& code) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", code);
  return error.Value();
}

[[noreturn]] void throw_to_script(Napi::Env env, const striped::Error& error) {
  throw Napi::Error(env, to_error(env, error.what(), error.code()));
}

// Does `work` on a worker thread and settles a promise with what `convert` makes of the result.
template <typename Result, typename Work, typename Convert>
class Task final : public Napi::AsyncWorker {
 public:
  Task(Napi::Env env, Work work, Convert convert)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        convert_(std::move(convert)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      result_ = work_();
    } catch (const striped::Error& error) {
      code_ = error.code();
      SetError(error.what());
    } catch (const std::exception& error) {
      code_ = "internal";
      SetError(error.what());
    }
  }
  void OnOK() override { deferred_.Resolve(convert_(Env(), *result_)); }
  void OnError(const Napi::Error& error) override {
    deferred_.Reject(to_error(Env(), error.Message(), code_));
  }

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  std::optional<Result> result_;
  std::string code_;
};

template <typename Result, typename Work, typename Convert>
Napi::Value run_task(Napi::Env env, Work work, Convert convert) {
  auto* task = new Task<Result, Work, Convert>(env, std::move(work), std::move(convert));  // deletes itself
  const Napi::Promise promise = task->promise();
  task->Queue();
  return promise;
}

std::string text(const Napi::Object& options, const char* name, const std::string& otherwise) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return otherwise;
  if (!value.IsString()) throw Napi::TypeError::New(options.Env(), std::string(name) + " must be a string");
  return value.As<Napi::String>();
}

std::string required(const Napi::Object& options, const char* name) {
  if (options.Get(name).IsUndefined())
    throw Napi::TypeError::New(options.Env(), std::string(name) + " is missing");
  return text(options, name, "");
}

std::optional<std::int64_t> integer(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  if (value.IsUndefined()) return std::nullopt;
  if (!value.IsNumber()) throw Napi::TypeError::New(options.Env(), std::string(name) + " must be a number");
  return value.As<Napi::Number>().Int64Value();
}

Napi::Object options_of(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsObject())
    throw Napi::TypeError::New(info.Env(), "an object with options is missing");
  return info[0].As<Napi::Object>();
}

Napi::Value train(const Napi::CallbackInfo& info) {
  const Napi::Object given = options_of(info);
  striped::TrainOptions options;
  options.plan = required(given, "plan");
  options.out = required(given, "out");
  options.resume = given.Get("resume").ToBoolean();
  options.from = text(given, "from", "");
  options.steps = integer(given, "steps");
  options.backend = text(given, "backend", "auto");
  options.precision = text(given, "precision", "");
  options.threads = static_cast<int>(integer(given, "threads").value_or(0));
  options.stop = &stop;
  stop = false;
  return run_task<striped::TrainResult>(
      info.Env(), [options] { return striped::train(options); },
      [](Napi::Env env, const striped::TrainResult& result) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        object.Set("state", result.state);
        object.Set("step", static_cast<double>(result.step));
        object.Set("loss", result.loss);
        object.Set("heldOutLoss", result.held_out_loss);
        object.Set("compositionEntropy", result.composition_entropy);
        return object;
      });
}

Napi::Value forward(const Napi::CallbackInfo& info) {
  const Napi::Object given = options_of(info);
  striped::ForwardOptions options;
  options.plan = required(given, "plan");
  options.weights = required(given, "weights");
  options.tokens = required(given, "tokens");
  options.logits = required(given, "logits");
  if (!given.Get("gradients").IsUndefined()) options.gradients = required(given, "gradients");
  options.backend = text(given, "backend", "auto");
  options.precision = text(given, "precision", "");
  options.threads = static_cast<int>(integer(given, "threads").value_or(0));
  return run_task<double>(
      info.Env(), [options] { return striped::forward(options).loss; },
      [](Napi::Env env, double loss) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        object.Set("loss", loss);
        return object;
      });
}

Napi::Value memory_table(const Napi::CallbackInfo& info) {
  if (info.Length() < 2 || !info[0].IsString() || !info[1].IsString())
    throw Napi::TypeError::New(info.Env(), "memoryTable wants the path of a plan and a backend");
  try {
    const std::string plan = info[0].As<Napi::String>(), backend = info[1].As<Napi::String>();
    return Napi::String::New(info.Env(), striped::memory_table(plan, backend));
  } catch (const striped::Error& error) {
    throw_to_script(info.Env(), error);
  }
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  try {
    return Napi::String::New(info.Env(), striped::devices());
  } catch (const striped::Error& error) {
    throw_to_script(info.Env(), error);
  }
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("version", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                return Napi::String::New(info.Env(), striped::version());
              }));
  exports.Set("requestStop", Napi::Function::New(env, [](const Napi::CallbackInfo&) { stop = true; }));
  exports.Set("train", Napi::Function::New(env, train));
  exports.Set("forward", Napi::Function::New(env, forward));
  exports.Set("devices", Napi::Function::New(env, devices));
  exports.Set("memoryTable", Napi::Function::New(env, memory_table));
  return exports;
}

}  // namespace

NODE_API_MODULE(striped, initialise)
