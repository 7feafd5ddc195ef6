// SPDX-License-Identifier: Apache-2.0
// What fits of axes need of symmetric matrices. Eigen on one thread, so that results do not depend on their number.
#pragma once

// Products on several threads would add up in any order.
#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif

#include <Eigen/Eigenvalues>

namespace cairn::train {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

// Least share of the greatest eigenvalue of weights: on no axis does an error cost nothing.
inline constexpr double kLeastWeight = 1e-3;

// Columns by falling eigenvalue, each with its largest component positive, so that the same matrix gives the same axes.
Matrix eigenvectors(const Matrix& symmetric);

// The symmetric root of weights, and its inverse.
struct Root {
  Matrix root, inverse;
};
Root root_of(const Matrix& weights);

}  // namespace cairn::train
