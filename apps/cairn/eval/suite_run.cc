// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/suite_run.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "apps/cairn/eval/suite_json.h"
#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "cairn/capacity/machine.h"

namespace cairn::cli {
namespace {

// The cells are handed out in order; what they give is kept by index, so that nobody can tell who did which.
class SuiteRunner {
 public:
  SuiteRunner(const SuiteRunSettings& plan, const SuiteResources& resources, SuiteJournal* journal)
      : plan_(plan), resources_(resources), journal_(journal), answers_(plan.cells.size()) {}

  Result<std::vector<AnsweredCell>> run(std::unique_ptr<Engine> engine) {
    take_from_journal();
    Progress progress("Answering");
    progress_ = &progress;
    std::vector<std::jthread> workers;
    if (resources_.jobs > 1) engine.reset();  // each job's engine has fewer threads
    for (unsigned j = 1; j < std::min<std::size_t>(resources_.jobs, open_.size()); ++j) {
      workers.emplace_back([this] { work(nullptr); });
    }
    work(std::move(engine));
    workers.clear();  // joins
    progress.finish();
    if (error_) {
      if (error_->code == ErrorCode::kCancelled) {
        error_->message = "interrupted after " + std::to_string(done_) + " of " + std::to_string(plan_.cells.size()) +
                          " sessions" + (journal_ == nullptr ? "" : "; the same command goes on from there");
      }
      return std::unexpected(*error_);
    }
    std::vector<AnsweredCell> all;
    for (auto& answer : answers_) all.push_back(std::move(*answer));
    return all;
  }

 private:
  // The longer the context, the longer it takes.
  double weight(std::size_t cell) const { return plan_.cells[cell].context; }

  void take_from_journal() {
    for (std::size_t i = 0; i < plan_.cells.size(); ++i) {
      const Json* kept = journal_ == nullptr ? nullptr : journal_->find(cell_key(plan_, plan_.cells[i]));
      if (kept != nullptr) answers_[i] = answered_from_json(*kept, plan_.cells[i]);
      total_weight_ += weight(i);
      if (!answers_[i]) {
        open_.push_back(i);
        continue;
      }
      ++done_;
      done_weight_ += weight(i);
    }
  }

  void work(std::unique_ptr<Engine> engine) {
    std::unique_ptr<JudgedEngine> judged;
    for (std::size_t next; !stop_ && (next = next_.fetch_add(1)) < open_.size();) {
      const std::size_t index = open_[next];
      Result<AnsweredCell> answered = answer(plan_.cells[index], engine, judged);
      const std::scoped_lock lock(mutex_);
      Status kept = {};
      if (answered && journal_ != nullptr) {
        kept = journal_->append(cell_key(plan_, plan_.cells[index]), answered_json(*answered));
      }
      if (!answered || !kept) {
        if (!error_) error_ = answered ? kept.error() : answered.error();
        stop_ = true;
        return;
      }
      answers_[index] = *std::move(answered);
      ++done_;
      done_weight_ += weight(index);
      progress_->update(done_weight_ / total_weight_);
    }
  }

  Result<AnsweredCell> answer(const Cell& cell, std::unique_ptr<Engine>& engine,
                              std::unique_ptr<JudgedEngine>& judged) {
    const Contender& contender = plan_.contenders[cell.contender];
    if (engine == nullptr) {
      ModelOptions model = resources_.model;
      model.threads = resources_.threads_per_job;
      CAIRN_TRY(engine, load_quietly(model));
    }
    if (judged == nullptr || judged->recipe().text != contender.recipe.text) {
      judged.reset();
      CAIRN_TRY(judged, JudgedEngine::make(*engine, contender.recipe,
                                           {.kv_budget_bytes = resources_.model.kv_budget,
                                            .context = std::max(cell.context, engine->context())}));
    }
    std::optional<Session> session;
    if (const auto data = plan_.data.find(cell.task); data != plan_.data.end()) {
      session = data->second.at(cell.index);
    } else {
      CAIRN_TRY(session, session_of(cell, contender.control, plan_.settings, engine->tokenizer()));
    }
    AnsweredCell answered{.cell = cell, .columns = {}, .depths = {}, .outcome = {}};
    CAIRN_TRY(answered.outcome, run_session(*judged, *session,
                                            {.with_context = contender.control != Control::kNoContext,
                                             .pin_instruction = contender.control == Control::kInstructionPinned,
                                             .cancel = &interrupt_flag()}));
    for (const Turn& turn : session->turns) {
      answered.columns.push_back(turn.column);
      answered.depths.push_back(turn.depth);
    }
    return answered;
  }

  const SuiteRunSettings& plan_;
  const SuiteResources& resources_;
  SuiteJournal* journal_;
  std::vector<std::size_t> open_;  // cells to answer
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // guards what follows
  std::vector<std::optional<AnsweredCell>> answers_;
  std::size_t done_ = 0;
  double done_weight_ = 0, total_weight_ = 0;
  std::optional<Error> error_;
  Progress* progress_ = nullptr;
};

}  // namespace

SuiteResources suite_resources(const SuiteOptions& options, Engine& engine, std::uint32_t longest_context) {
  const unsigned threads = engine.threads();
  SuiteResources resources{.model = options.model, .jobs = options.jobs, .threads_per_job = 1};
  if (options.jobs == 0) {
    // A session's own copies and activations come on top of weights and context.
    const double kv = 2.0 * longest_context * static_cast<double>(engine.cache().bytes_per_token());
    const double need = static_cast<double>(engine.weight_bytes()) + kv + 256e6;
    resources.jobs =
        static_cast<unsigned>(std::clamp(capacity::available_memory() / need, 1.0, static_cast<double>(threads)));
  }
  resources.threads_per_job = std::max(1u, threads / resources.jobs);
  return resources;
}

Result<std::vector<AnsweredCell>> run_suite(const SuiteRunSettings& plan, const SuiteResources& resources,
                                            std::unique_ptr<Engine> engine, SuiteJournal* journal) {
  return SuiteRunner(plan, resources, journal).run(std::move(engine));
}

}  // namespace cairn::cli
