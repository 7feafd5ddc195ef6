// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/symmetric.h"

#include <algorithm>

namespace cairn::train {
namespace {

using Solver = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>;

}  // namespace

Matrix eigenvectors(const Matrix& symmetric) {
  const Solver solver(symmetric);
  Matrix vectors = solver.eigenvectors().rowwise().reverse();
  for (Eigen::Index i = 0; i < vectors.cols(); ++i) {
    Eigen::Index largest = 0;
    vectors.col(i).cwiseAbs().maxCoeff(&largest);
    if (vectors(largest, i) < 0) vectors.col(i) *= -1;
  }
  return vectors;
}

Root root_of(const Matrix& weights) {
  const Solver solver(weights);
  const double top = std::max(solver.eigenvalues().maxCoeff(), 1e-30);
  const Eigen::VectorXd roots = solver.eigenvalues().cwiseMax(kLeastWeight * top).cwiseSqrt();
  const auto& u = solver.eigenvectors();
  return {u * roots.asDiagonal() * u.transpose(), u * roots.cwiseInverse().asDiagonal() * u.transpose()};
}

}  // namespace cairn::train
