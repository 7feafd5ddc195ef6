// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite_run.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

namespace cairn::eval {
namespace {

// Sessions that are tried of each task and context: where all of these can be made, the others can too.
constexpr std::uint32_t kTriedSessions = 8;

// The cells are handed out in order; what they give is kept by index, so the result does not show which worker did
// which.
class SuiteRunner {
 public:
  SuiteRunner(const SuiteRunSettings& plan, const SuiteRunControl& control, SuiteJournal* journal)
      : plan_(plan), control_(control), journal_(journal), answers_(plan.cells.size()) {}

  Result<std::vector<AnsweredCell>> run(std::unique_ptr<Engine> engine) {
    take_from_journal();
    std::vector<std::jthread> workers;
    if (control_.workers > 1) engine.reset();  // each worker's engine has fewer threads
    for (unsigned i = 1; i < std::min<std::size_t>(control_.workers, open_.size()); ++i) {
      workers.emplace_back([this] { work(nullptr); });
    }
    work(std::move(engine));
    workers.clear();  // joins
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
  // Declared so that the judged engine goes before the one it was made from.
  struct Worker {
    std::unique_ptr<Engine> engine{};
    std::unique_ptr<JudgedEngine> judged{};
    const Cell* last = nullptr;
  };

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
    sort_by_context();
  }

  // Recipes that can share a cache answer a session one after the other, so that its context is computed once. Others
  // are answered in report order.
  void sort_by_context() {
    std::map<std::string, std::size_t> first;  // of a cache, its first contender
    std::vector<std::size_t> members(plan_.contenders.size());
    for (std::size_t c = 0; c < plan_.contenders.size(); ++c) {
      const Contender& contender = plan_.contenders[c];
      const bool can = contender.recipe.shares_contexts() && contender.control == Control::kNone;
      cache_of_.push_back(can ? first.emplace(contender.recipe.codec, c).first->second : c);
      ++members[cache_of_[c]];
    }
    for (const std::size_t cache : cache_of_) shares_.push_back(members[cache] > 1);
    std::ranges::stable_sort(open_, {}, [this](std::size_t i) {
      const auto& [contender, task, context, index] = plan_.cells[i];
      return shares_[contender] ? std::tuple(cache_of_[contender], task, context, index)
                                : std::tuple(contender, std::string(), 0u, 0u);
    });
  }

  void work(std::unique_ptr<Engine> engine) {
    Worker worker{.engine = std::move(engine)};
    for (std::size_t next; !stop_ && (next = next_.fetch_add(1)) < open_.size();) {
      const std::size_t index = open_[next];
      Result<AnsweredCell> answered = answer(plan_.cells[index], worker);
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
      if (control_.on_progress) control_.on_progress(done_weight_ / total_weight_);
    }
  }

  // A shared cache is made anew for each session: what it keeps of others would only take room.
  Status make_ready(const Cell& cell, Worker& worker) const {
    const EvalRecipe& recipe = plan_.contenders[cell.contender].recipe;
    const bool shares = shares_[cell.contender];
    const Cell* last = std::exchange(worker.last, &cell);
    if (last != nullptr && shares) {
      const bool same_session = last->task == cell.task && last->context == cell.context && last->index == cell.index;
      if (!same_session) worker.judged.reset();
    }
    if (worker.judged != nullptr) {
      if (worker.judged->recipe().text == recipe.text) return {};
      CAIRN_TRY(const bool switched, worker.judged->switch_to(recipe));
      if (switched) return {};
      worker.judged.reset();
    }
    const EngineOptions options = {.kv_budget_bytes = control_.kv_budget_bytes,
                                   .context = std::max(cell.context, worker.engine->context())};
    CAIRN_TRY(worker.judged, JudgedEngine::make(*worker.engine, recipe, options, /*keep_contexts=*/shares));
    return {};
  }

  Result<AnsweredCell> answer(const Cell& cell, Worker& worker) {
    const Contender& contender = plan_.contenders[cell.contender];
    if (worker.engine == nullptr) {
      CAIRN_TRY(worker.engine, control_.load());
    }
    CAIRN_TRY_VOID(make_ready(cell, worker));
    std::optional<EvalSession> session;
    if (const auto data = plan_.data.find(cell.task); data != plan_.data.end()) {
      session = data->second.at(cell.index);
    } else {
      CAIRN_TRY(session, session_of(cell, contender.control, plan_.settings, worker.engine->tokenizer()));
    }
    AnsweredCell answered{.cell = cell, .columns = {}, .depths = {}, .outcome = {}};
    CAIRN_TRY(answered.outcome, run_session(*worker.judged, *session,
                                            {.with_context = contender.control != Control::kNoContext,
                                             .pin_instruction = contender.control == Control::kInstructionPinned,
                                             .cancel = control_.cancel}));
    for (const Turn& turn : session->turns) {
      answered.columns.push_back(turn.column);
      answered.depths.push_back(turn.depth);
    }
    return answered;
  }

  const SuiteRunSettings& plan_;
  const SuiteRunControl& control_;
  SuiteJournal* journal_;
  std::vector<std::size_t> cache_of_;  // by contender: the first that can share its cache
  std::vector<bool> shares_;           // by contender: whether there is another
  std::vector<std::size_t> open_;      // cells to answer, in the order in which they are handed out
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // guards what follows
  std::vector<std::optional<AnsweredCell>> answers_;
  std::size_t done_ = 0;
  double done_weight_ = 0, total_weight_ = 0;
  std::optional<Error> error_;
};

}  // namespace

void add_data_cells(SuiteRunSettings& plan) {
  std::vector<Cell> cells;
  for (std::size_t c = 0; c < plan.contenders.size(); ++c) {
    std::ranges::copy_if(plan.cells, std::back_inserter(cells), [c](const Cell& cell) { return cell.contender == c; });
    const Control control = plan.contenders[c].control;
    if (control != Control::kNone && control != Control::kRandomEviction && control != Control::kNoContext) continue;
    for (const auto& [name, sessions] : plan.data) {
      for (std::uint32_t i = 0; i < sessions.size(); ++i) {
        cells.push_back({c, name, plan.settings.contexts.back(), i});
      }
    }
  }
  plan.cells = std::move(cells);
}

Result<std::vector<std::string>> leave_out_impossible(SuiteRunSettings& plan, const Tokenizer& tokenizer) {
  std::map<std::pair<std::string, std::uint32_t>, std::string> why;  // by task and context
  std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, Control>> made;
  for (const Cell& cell : plan.cells) {
    const Control control = plan.contenders[cell.contender].control;
    if (cell.index >= kTriedSessions || plan.data.contains(cell.task) || why.contains({cell.task, cell.context}) ||
        !made.emplace(cell.task, cell.context, cell.index, control).second) {
      continue;
    }
    const Result<EvalSession> session = session_of(cell, control, plan.settings, tokenizer);
    if (!session) why[{cell.task, cell.context}] = session.error().message;
  }
  std::erase_if(plan.cells, [&](const Cell& cell) { return why.contains({cell.task, cell.context}); });
  if (plan.cells.empty()) return fail(ErrorCode::kInvalidArgument, why.begin()->second);
  std::vector<std::string> lines;
  for (const auto& [place, reason] : why) {
    plan.left_out.push_back(place.first + " at " + std::to_string(place.second));
    lines.push_back(plan.left_out.back() + " tokens is left out: " + reason);
  }
  return lines;
}

Status check_contenders(const SuiteRunSettings& plan, std::uint64_t kv_budget_bytes, const Engine& engine) {
  // Forks copy the open tail and add a block or two for the question and the answer of every turn in both modes.
  const std::size_t blocks = plan.settings.contexts.back() / kBlockTokens + 1 + 2 * 3 * plan.settings.turns;
  for (const Contender& contender : plan.contenders) {
    CAIRN_TRY(const auto judged, JudgedEngine::make(engine, contender.recipe, {.kv_budget_bytes = kv_budget_bytes}));
    const std::size_t needed = judged->engine().cache().bytes_of(blocks * kBlockTokens);
    if (needed <= kv_budget_bytes) continue;
    return fail(ErrorCode::kOutOfBudget, "sessions of " + std::to_string(plan.settings.contexts.back()) +
                                             " tokens need " + std::to_string(needed) +
                                             " bytes of keys and values; raise --kv-budget");
  }
  return {};
}

Result<std::vector<AnsweredCell>> run_suite(const SuiteRunSettings& plan, const SuiteRunControl& control,
                                            std::unique_ptr<Engine> engine, SuiteJournal* journal) {
  return SuiteRunner(plan, control, journal).run(std::move(engine));
}

}  // namespace cairn::eval
