// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/filler.h"

namespace cairn {
namespace {

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

}  // namespace

std::span<const std::string_view> filler_sentences() {
  return kSentences;
}

}  // namespace cairn
