// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/material.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/layout.h"

namespace cairn::tasks {
namespace {

// clang-format off
constexpr std::string_view kWords[] = {
  "acorn", "actor", "adult", "agent", "album", "alley", "amber", "angle", "animal", "ankle", "answer", "anvil",
  "apple", "apron", "arcade", "arch", "area", "arena", "armchair", "army", "aroma", "arrow", "artist", "ashen",
  "atlas", "attic", "aunt", "author", "autumn", "avenue", "award", "axle", "baby", "badge", "bagel", "baker",
  "balance", "balcony", "ball", "ballet", "balloon", "bamboo", "banana", "band", "banjo", "banner", "barley", "barn",
  "baron", "barrel", "basin", "basket", "bath", "battery", "beach", "beacon", "bead", "beak", "beam", "bean", "bear",
  "beard", "beast", "beaver", "beech", "beetle", "bell", "belt", "bench", "berry", "bicycle", "bird", "biscuit",
  "bishop", "bison", "blanket", "blend", "block", "blossom", "board", "boat", "bold", "bonnet", "book", "boot",
  "border", "bottle", "bottom", "bowl", "bracket", "branch", "brass", "brave", "bread", "breeze", "brick", "bride",
  "bridge", "brief", "bright", "broad", "bronze", "brook", "broom", "brother", "brown", "brush", "bubble", "bucket",
  "buckle", "budget", "buffalo", "bugle", "builder", "bulb", "bundle", "burrow", "bushel", "butcher", "butter",
  "button", "cabbage", "cabin", "cable", "cactus", "cage", "cake", "calendar", "calm", "camel", "camera", "camp",
  "canal", "candle", "canoe", "canvas", "canyon", "captain", "caravan", "carbon", "card", "careful", "cargo",
  "carpet", "carrot", "carry", "cart", "castle", "cattle", "cave", "cedar", "ceiling", "celery", "cellar", "cement",
  "century", "cereal", "chain", "chair", "chalk", "chamber", "channel", "chapel", "chapter", "charcoal", "chariot",
  "cheese", "cherry", "chess", "chest", "chicken", "chimney", "choir", "chorus", "cider", "cinema", "circle",
  "circus", "city", "civil", "clay", "clean", "clever", "cliff", "climb", "clinic", "cloak", "clock", "closet",
  "cloth", "cloud", "clover", "coach", "coast", "coat", "cobalt", "cocoa", "coconut", "coffee", "coil", "coin",
  "collar", "college", "colour", "column", "comet", "comfort", "common", "compass", "concert", "cook", "copper",
  "coral", "cord", "cork", "corn", "corner", "cottage", "cotton", "couch", "council", "country", "county", "courage",
  "course", "court", "cousin", "cover", "cradle", "crane", "crayon", "cream", "creek", "crescent", "cricket", "crisp",
  "crocus", "crop", "crown", "crystal", "cube", "cupboard", "curious", "current", "curtain", "curve", "cushion",
  "custom", "cycle", "cymbal", "daily", "dairy", "daisy", "dance", "dawn", "deal", "decent", "deck", "deep", "deer",
  "delta", "desert", "desk", "diamond", "diary", "dinner", "dish", "distant", "doctor", "dolphin", "domain", "donkey",
  "door", "double", "dough", "dove", "dragon", "drama", "drawer", "dream", "dress", "drift", "drive", "drum", "duck",
  "dune", "dusk", "eager", "eagle", "early", "earth", "east", "easy", "echo", "edge", "effort", "eight", "elbow",
  "elder", "elegant", "elephant", "elevator", "ember", "emerald", "empire", "engine", "enjoy", "entire", "entry",
  "envelope", "equal", "evening", "exact", "extra", "fabric", "factory", "fair", "falcon", "family", "famous", "farm",
  "father", "feast", "feather", "fence", "fern", "ferry", "festival", "fiddle", "field", "finger", "finish", "fire",
  "firm", "fish", "flag", "flame", "flannel", "flat", "fleet", "flint", "float", "flock", "floor", "flour", "flower",
  "fluid", "flute", "foam", "foggy", "folder", "follow", "forest", "fork", "formal", "fortune", "forward", "fossil",
  "fountain", "foxglove", "frame", "fresh", "friend", "frost", "fruit", "funnel", "future", "gadget", "galaxy",
  "gallery", "gallon", "game", "garage", "garden", "garlic", "garment", "garnet", "gate", "gather", "general",
  "gentle", "geyser", "giant", "ginger", "giraffe", "glacier", "glad", "glass", "globe", "glory", "glove", "glow",
  "goat", "gold", "golden", "good", "goose", "grain", "grand", "granite", "grape", "grass", "gravel", "great",
  "green", "greet", "grey", "grocer", "grove", "guard", "guest", "guide", "guitar", "gulf", "habit", "hall", "hammer",
  "hammock", "hamster", "handle", "handy", "happy", "harbor", "hard", "harp", "harvest", "hatch", "haven", "hawk",
  "hazel", "head", "health", "heart", "heavy", "hedge", "height", "helmet", "herald", "herb", "hero", "heron",
  "hidden", "high", "hill", "history", "hobby", "hockey", "hollow", "holly", "home", "honest", "honey", "hood",
  "hook", "horizon", "horn", "horse", "hotel", "hour", "house", "humble", "hunter", "husky", "iceberg", "icon",
  "idea", "ideal", "igloo", "indigo", "inkwell", "inner", "insect", "island", "ivory", "jacket", "jade", "jasmine",
  "jelly", "jewel", "jigsaw", "join", "jolly", "journal", "journey", "judge", "juice", "jungle", "junior", "juniper",
  "kayak", "keen", "keeper", "kennel", "kernel", "kettle", "keyboard", "kidney", "kind", "king", "kitchen", "kite",
  "kitten", "knee", "knife", "knight", "knot", "label", "ladder", "lady", "lagoon", "lake", "lamp", "land",
  "language", "lantern", "large", "lark", "laundry", "lava", "lawn", "layer", "lead", "leaf", "learn", "leather",
  "lemon", "lens", "lesson", "letter", "lettuce", "level", "library", "light", "lilac", "lily", "lime", "limit",
  "linen", "lion", "lively", "lizard", "loaf", "lobby", "lobster", "local", "lodge", "lofty", "logic", "long",
  "lotus", "loud", "loyal", "lucky", "lumber", "lunar", "lunch", "magic", "magnet", "maiden", "mango", "mansion",
  "maple", "marble", "march", "margin", "marina", "market", "marsh", "mason", "meadow", "meal", "medal", "mellow",
  "melody", "melon", "memory", "mentor", "merchant", "merry", "metal", "meteor", "method", "middle", "mild", "milk",
  "mill", "mineral", "mint", "minute", "mirror", "mitten", "model", "modern", "modest", "moment", "monkey", "month",
  "moon", "moose", "morning", "mosaic", "moss", "mother", "motor", "mountain", "mouse", "museum", "music", "mustard",
  "narrow", "nation", "native", "nature", "navy", "near", "neat", "nectar", "needle", "neighbor", "nephew", "nest",
  "network", "nickel", "night", "noble", "noodle", "north", "notebook", "novel", "number", "nutmeg", "oasis",
  "object", "ocean", "office", "olive", "onion", "open", "opera", "orange", "orbit", "orchard", "orchid", "order",
  "organ", "otter", "outer", "oval", "oven", "oyster", "paddle", "page", "paint", "pair", "palace", "pale", "palm",
  "panda", "panel", "pantry", "paper", "parade", "parcel", "parent", "park", "parlor", "parrot", "party", "passage",
  "pasta", "pasture", "patch", "path", "patient", "pattern", "pavement", "peach", "peacock", "peanut", "pearl",
  "pebble", "pelican", "pencil", "penguin", "people", "pepper", "petal", "phone", "photo", "piano", "pickle",
  "picnic", "picture", "piece", "pigeon", "pillow", "pine", "pioneer", "pipe", "pizza", "place", "plain", "planet",
  "plank", "plant", "plate", "player", "plaza", "plenty", "plum", "pocket", "poem", "polar", "polite", "pond", "pony",
  "poplar", "poppy", "porch", "portrait", "postcard", "potato", "pottery", "powder", "prairie", "present", "pretty",
  "price", "prince", "print", "prize", "proper", "proud", "prune", "public", "puddle", "pulley", "pumpkin", "pupil",
  "puppet", "pure", "purple", "puzzle", "pyramid", "quality", "quarry", "quarter", "queen", "quick", "quiet", "quilt",
  "quiver", "rabbit", "raccoon", "radar", "radio", "radish", "raft", "railway", "rain", "raisin", "ranch", "range",
  "rapid", "raven", "ready", "record", "reef", "region", "relay", "relish", "rescue", "ribbon", "rice", "rich",
  "rider", "ridge", "ring", "ripple", "river", "road", "robin", "robot", "rocket", "roof", "room", "root", "rope",
  "rose", "round", "rover", "royal", "rubber", "ruby", "rudder", "runner", "rural", "rustic", "saddle", "safe",
  "saffron", "sail", "salad", "salmon", "salt", "sample", "sand", "sandal", "satin", "sauce", "scale", "scarf",
  "scholar", "school", "science", "scout", "screen", "sculptor", "season", "second", "secret", "section", "seed",
  "senior", "settle", "seven", "shadow", "shallow", "shape", "sharp", "shed", "sheep", "shelf", "shell", "shelter",
  "shepherd", "shield", "shine", "ship", "shirt", "shore", "short", "shoulder", "shovel", "shower", "shrimp", "shrub",
  "shutter", "sideways", "signal", "silence", "silk", "silver", "simple", "singer", "sister", "sketch", "slate",
  "sleeve", "slender", "slope", "slow", "smart", "smile", "smooth", "snail", "snow", "soap", "social", "socket",
  "soda", "sofa", "soft", "soil", "solar", "solid", "sonnet", "soup", "south", "space", "spark", "sparrow", "spice",
  "spider", "spinach", "spiral", "spirit", "splendid", "spoon", "sport", "spring", "spruce", "square", "squirrel",
  "stable", "stadium", "stage", "stair", "stamp", "star", "station", "statue", "steady", "steam", "steel", "stem",
  "step", "stereo", "stone", "stool", "store", "storm", "story", "stove", "straw", "stream", "street", "string",
  "strong", "studio", "study", "sturdy", "subject", "sugar", "suit", "summer", "summit", "sunny", "sunset", "supper",
  "surface", "swan", "sweater", "sweet", "swift", "syrup", "system", "table", "talent", "tall", "tango", "tavern",
  "teacher", "teapot", "temple", "tender", "tennis", "tent", "theater", "thimble", "third", "thread", "throne",
  "thumb", "thunder", "ticket", "tidy", "tiger", "timber", "tiny", "title", "toast", "toffee", "tomato", "topaz",
  "torch", "tower", "town", "tractor", "trade", "trail", "train", "travel", "treasure", "treat", "tree", "triangle",
  "tribe", "trumpet", "trunk", "tulip", "tundra", "tunnel", "turkey", "turnip", "turtle", "tutor", "twig", "twin",
  "umbrella", "uncle", "uniform", "union", "unit", "upper", "useful", "valley", "vanilla", "vapor", "vase", "velvet",
  "verb", "vessel", "village", "vine", "vineyard", "violet", "violin", "visitor", "vivid", "voice", "volcano",
  "voyage", "waffle", "wagon", "walnut", "walrus", "warm", "watch", "water", "wave", "weather", "weaver", "wedding",
  "week", "welcome", "west", "whale", "wheat", "wheel", "whisper", "whistle", "white", "wide", "wild", "willow",
  "wind", "window", "wing", "winter", "wisdom", "wise", "wolf", "wonder", "wood", "wool", "word", "worker", "world",
  "yacht", "yard", "yarn", "year", "yellow", "yogurt", "young", "zebra", "zenith", "zipper",
};
// clang-format on

constexpr std::string_view kSentences[] = {
    "The road to the village runs along the river and crosses two old bridges.",
    "Most of the shops open late in the morning and close before it gets dark.",
    "A light rain had fallen during the night, and the fields were still wet.",
    "Nobody remembered who had planted the row of trees behind the school.",
    "The train was late again, so we drank another cup of tea at the station.",
    "She kept her letters in a small wooden box under the stairs.",
    "In winter the lake freezes over and the children skate on it until evening.",
    "The baker gave us a loaf that was still warm from the oven.",
    "He painted the door blue because that was the only colour he had left.",
    "There is a clock on the tower, but it has not worked for years.",
    "The dog slept by the fire and did not move when we came in.",
    "After lunch they walked up the hill to look at the view.",
    "The museum has a large collection of maps and a quiet garden.",
    "It took them the whole summer to repair the roof of the barn.",
    "My grandmother used to say that bread tastes best on the second day.",
    "The market was full of people who wanted to buy apples and cheese.",
    "A ship with white sails was waiting in the harbour for the wind to turn.",
    "The teacher told us a long story about a fox and a hungry bear.",
    "We could hear music from the other side of the square.",
    "The path through the forest is steep, but it is much shorter.",
    "In spring the meadow is covered with yellow and white flowers.",
    "He read the newspaper from the first page to the last, as he always did.",
    "The house at the end of the street has been empty since last autumn.",
    "They grow beans and carrots in the garden and sell what they do not eat.",
    "Some of the visitors stayed for a week, others left the next morning.",
    "The cook put more salt into the soup and tasted it again.",
    "A narrow staircase leads from the kitchen to the room under the roof.",
    "The farmers say that a dry May is good for the hay.",
    "Every Sunday the band plays in the park if the weather is fine.",
    "She found an old coin in the sand and gave it to her brother.",
    "The library is warm and bright, and one may stay there all day.",
    "From the top of the tower one can see as far as the sea.",
    "The boat was small, and there was hardly room for the three of us.",
    "Because of the storm the ferry did not leave until the afternoon.",
    "The tailor measured the cloth twice before he cut it.",
    "Birds had built a nest in the chimney, so we did not light a fire.",
    "It was so quiet that we could hear the snow fall from the branches.",
    "The film was long, and half of the audience fell asleep.",
    "He had a friendly voice and a habit of talking to his horse.",
    "On the way home they stopped at the mill and watched the wheel turn.",
    "Nothing grows on the northern side of the mountain except moss.",
    "The soup was cold by the time everybody had found a chair.",
};

// clang-format off
constexpr std::string_view kNames[] = {
    "Anna", "Boris", "Carla", "David", "Elena", "Felix", "Grace", "Henry", "Irene", "James", "Karen", "Louis", "Maria",
    "Nora", "Oscar", "Paula", "Quinn", "Robert", "Sofia", "Thomas", "Ursula", "Victor", "Wendy", "Xavier", "Yvonne",
    "Zachary", "Alice", "Bruno", "Clara", "Diego", "Emma", "Frank", "Gina", "Hugo", "Ivan", "Julia", "Kevin", "Laura",
    "Mark", "Nina"};
constexpr std::string_view kCities[] = {
    "Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Prague", "Dublin", "Lisbon", "Athens", "Warsaw", "Oslo",
    "Helsinki", "Cairo", "Tokyo", "Delhi", "Lima", "Boston", "Denver", "Seattle"};
constexpr std::string_view kJobs[] = {
    "teacher", "doctor", "lawyer", "farmer", "pilot", "writer", "singer", "painter", "baker", "driver", "nurse", "judge",
    "soldier", "sailor", "miner", "chef", "tailor", "banker", "poet", "dancer"};
// More names for long contexts: one of these, then one of those.
constexpr std::string_view kNameBegins[] = {
    "Bal", "Bren", "Cad", "Cor", "Dal", "Dor", "Fal", "Fen", "Gal", "Gor", "Hal", "Hel",
    "Jor", "Kal", "Kor", "Lor", "Mel", "Mor", "Nal", "Per", "Ral", "Sel", "Tal", "Vel"};
constexpr std::string_view kNameEnds[] = {
    "adan", "amir", "anda", "aric", "avin", "ebor", "edric", "elin", "emar", "enza",
    "iko", "imund", "isca", "ivor", "odan", "olf", "omir", "orin", "ovan", "umer"};
// clang-format on

constexpr std::size_t kMadeUp = std::size(kNameBegins) * std::size(kNameEnds);
static_assert(kMaxPeople <= std::size(kNames) + kMadeUp);

std::vector<std::string> draw_names(std::size_t count, SeededRandom& random) {
  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  if (count <= names.size()) {
    random.shuffle(names);
    names.resize(count);
    return names;
  }
  std::vector<std::size_t> made_up(kMadeUp);
  std::iota(made_up.begin(), made_up.end(), std::size_t{0});
  random.shuffle(made_up);
  for (std::size_t i = 0; names.size() < count; ++i) {
    const std::size_t ends = std::size(kNameEnds);
    names.push_back(std::string(kNameBegins[made_up[i] / ends]) + std::string(kNameEnds[made_up[i] % ends]));
  }
  random.shuffle(names);
  return names;
}

}  // namespace

std::span<const std::string_view> common_words() {
  return kWords;
}

std::vector<std::string_view> draw_words(std::size_t count, SeededRandom& random) {
  const std::span<const std::string_view> all = common_words();
  CAIRN_CHECK(count <= all.size());
  std::vector<std::string_view> drawn;
  if (count > all.size() / 16) {
    drawn.assign(all.begin(), all.end());
    random.shuffle(drawn);
    drawn.resize(count);
    return drawn;
  }
  while (drawn.size() < count) {  // few of many: trying again is cheaper than shuffling all
    const std::string_view word = random.pick(all);
    if (!std::ranges::count(drawn, word)) drawn.push_back(word);
  }
  return drawn;
}

std::vector<std::string> draw_keys(std::size_t count, SeededRandom& random) {
  const std::size_t words = common_words().size();
  CAIRN_CHECK(count <= words * (words - 1) / 2);
  if (count <= words) {
    const std::vector<std::string_view> drawn = draw_words(count, random);
    return {drawn.begin(), drawn.end()};
  }
  // Pair i joins two neighbours at a distance that grows every round, over a random order: no pair comes twice.
  const std::vector<std::string_view> order = draw_words(words, random);
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t distance = i / words + 1;
    keys.push_back(std::string(order[i % words]) + " " + std::string(order[(i + distance) % words]));
  }
  random.shuffle(keys);
  return keys;
}

std::string join_words(std::span<const std::string_view> words) {
  std::string joined;
  for (const std::string_view word : words) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

std::string draw_digits(std::size_t count, SeededRandom& random) {
  std::string digits;
  for (std::size_t i = 0; i < count; ++i) digits += static_cast<char>('0' + random.below(10));
  return digits;
}

std::span<const std::string_view> filler_sentences() {
  return kSentences;
}

std::span<const std::string_view> usual_names() {
  return kNames;
}
std::span<const std::string_view> cities() {
  return kCities;
}
std::span<const std::string_view> jobs() {
  return kJobs;
}

std::vector<std::size_t> draw_friends(std::size_t count, SeededRandom& random) {
  CAIRN_CHECK(count > 1);
  std::vector<std::size_t> cycle(count), friends(count);
  std::iota(cycle.begin(), cycle.end(), std::size_t{0});
  random.shuffle(cycle);
  for (std::size_t i = 0; i < count; ++i) friends[cycle[i]] = cycle[(i + 1) % count];
  return friends;
}

std::vector<Person> make_people(std::size_t count, SeededRandom& random) {
  CAIRN_CHECK(count <= kMaxPeople);
  std::vector<std::string> names = draw_names(count, random);
  const std::vector<std::size_t> friends = draw_friends(count, random);
  std::vector<Person> people;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string home(random.pick(cities())), job(random.pick(jobs()));
    people.push_back({std::move(names[i]), home, job, random.between(kMinAge, kMaxAge), friends[i]});
  }
  return people;
}

std::string relation_value(std::span<const Person> people, std::size_t person, Relation relation) {
  const Person& p = people[person];
  switch (relation) {
    case Relation::kHome: return p.home;
    case Relation::kJob: return p.job;
    case Relation::kAge: return std::to_string(p.age);
    case Relation::kFriend: return people[p.friend_index].name;
  }
  CAIRN_CHECK(false);
}

std::string relation_fact(std::span<const Person> people, std::size_t person, Relation relation, SeededRandom& random) {
  const std::string name = people[person].name, value = relation_value(people, person, relation);
  const bool paraphrase = random.below(2) == 1;
  switch (relation) {
    case Relation::kHome:
      return paraphrase ? "The home of " + name + " is " + value + "." : name + " lives in " + value + ".";
    case Relation::kJob:
      return paraphrase ? "The job of " + name + " is " + value + "." : name + " works as a " + value + ".";
    case Relation::kAge: return name + " is " + value + " years old.";
    case Relation::kFriend: return "The friend of " + name + " is " + value + ".";
  }
  CAIRN_CHECK(false);
}

std::string relation_question(std::string_view who, Relation relation) {
  const std::string name(who);
  switch (relation) {
    case Relation::kHome: return "Where does " + name + " live?";
    case Relation::kJob: return "What is the job of " + name + "?";
    case Relation::kAge: return "How old is " + name + "?";
    case Relation::kFriend: return "Who is the friend of " + name + "?";
  }
  CAIRN_CHECK(false);
}

Draft draft_statements(std::vector<Statement> statements, std::size_t turns, const Ask& ask, SeededRandom& random) {
  if (random.below(2) == 0) random.shuffle(statements);
  Draft draft;
  for (const Statement& statement : statements) draft.context += statement.text;
  draft.context += "\n\n";  // ends the line of facts, then the blank line
  std::array<std::vector<std::size_t>, kFifths> fifths;
  std::size_t at = 0;
  for (const Statement& statement : statements) {
    const std::size_t middle = at + statement.text.size() / 2, size = draft.context.size();
    const std::uint32_t depth = depth_of(middle, size);
    if (safely_inside(middle, size, depth)) fifths[depth].push_back(statement.id);
    at += statement.text.size();
  }
  for (auto& fifth : fifths) random.shuffle(fifth);
  for (const std::uint32_t depth : draw_depths(turns, random)) {
    draft.turns.emplace_back();
    if (fifths[depth].empty()) {
      draft.placed = false;
      continue;
    }
    draft.turns.back() = ask(fifths[depth].back());
    draft.turns.back().depth = depth;
    fifths[depth].pop_back();
  }
  return draft;
}

}  // namespace cairn::tasks
