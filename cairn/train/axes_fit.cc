// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/axes_fit.h"

#include <algorithm>
#include <cmath>

#include "cairn/train/symmetric.h"

namespace cairn::train {
namespace {

void put(const Matrix& matrix, float* to) {
  for (Eigen::Index i = 0; i < matrix.size(); ++i) to[i] = static_cast<float>(matrix.data()[i]);
}

// Rows over the roots of their mean squares; rows of zeros stay.
void divide_by_gains(Matrix& rows) {
  for (Eigen::Index t = 0; t < rows.rows(); ++t) {
    const double gain = std::sqrt(rows.row(t).squaredNorm() / static_cast<double>(rows.cols()));
    if (gain > 0) rows.row(t) /= gain;
  }
}

}  // namespace

HeadAxes fit_axes(std::span<const float> rows, std::uint32_t dim, std::span<const double> weights, bool keys) {
  const auto n = static_cast<Eigen::Index>(rows.size() / dim), d = static_cast<Eigen::Index>(dim);
  Matrix centred = FloatRows(rows.data(), n, d).cast<double>();
  const Eigen::RowVectorXd mean = centred.colwise().mean();
  centred.rowwise() -= mean;
  const Matrix cost = Eigen::Map<const Matrix>(weights.data(), d, d);
  Matrix forward, back;  // of columns: axis i is column i of `forward`
  if (keys) {
    divide_by_gains(centred);
    forward = eigenvectors(centred.transpose() * centred / static_cast<double>(n));
    back = forward.transpose();
  } else {
    const Root root = root_of(cost);
    Matrix weighted = centred * root.root;
    divide_by_gains(weighted);
    const Matrix axes = eigenvectors(weighted.transpose() * weighted / static_cast<double>(n));
    forward = root.root * axes;
    back = axes.transpose() * root.inverse;
    // Of the size of an orthogonal matrix, so that what lies on the axes is of the size of the values.
    const double size = forward.norm() / std::sqrt(static_cast<double>(dim));
    forward /= size;
    back *= size;
  }
  HeadAxes fit;
  fit.dim = dim;
  fit.matrices.resize(3 * std::size_t{dim} * dim);
  put(forward, fit.matrices.data());
  put(back, fit.matrices.data() + std::size_t{dim} * dim);
  put(back.transpose(), fit.matrices.data() + 2 * std::size_t{dim} * dim);
  const Eigen::VectorXd costs = (back * cost * back.transpose()).diagonal();
  const double typical = std::max(costs.mean(), 1e-30);
  const Eigen::RowVectorXd on_axes = mean * forward;
  for (Eigen::Index i = 0; i < d; ++i) {
    fit.mean.push_back(static_cast<float>(on_axes[i]));
    fit.weight.push_back(static_cast<float>(std::sqrt(std::max(costs[i] / typical, kLeastWeight))));
  }
  fit.variance.assign(dim, 0.0);
  const std::vector<float> units = fit.units(rows);
  for (std::size_t i = 0; i < units.size(); ++i) fit.variance[i % dim] += double{units[i]} * units[i];
  for (double& variance : fit.variance) variance = std::max(variance / static_cast<double>(n), 1e-12);
  std::vector<std::uint32_t> order(dim);
  for (std::uint32_t i = 0; i < dim; ++i) order[i] = i;
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return fit.variance[a] > fit.variance[b]; });
  fit.reorder(order);
  return fit;
}

void HeadAxes::reorder(std::span<const std::uint32_t> order) {
  const HeadAxes from = *this;
  const std::size_t square = std::size_t{dim} * dim;
  for (std::uint32_t i = 0; i < dim; ++i) {
    const std::uint32_t axis = order[i];
    mean[i] = from.mean[axis];
    weight[i] = from.weight[axis];
    variance[i] = from.variance[axis];
    for (std::uint32_t d = 0; d < dim; ++d) {
      matrices[d * dim + i] = from.matrices[d * dim + axis];
      matrices[square + i * dim + d] = from.matrices[square + axis * dim + d];
      matrices[2 * square + d * dim + i] = from.matrices[2 * square + d * dim + axis];
    }
  }
}

std::vector<float> HeadAxes::units(std::span<const float> rows) const {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto d = static_cast<Eigen::Index>(dim), n = static_cast<Eigen::Index>(rows.size() / dim);
  Floats turned = FloatRows(rows.data(), n, d) * FloatRows(matrices.data(), d, d);
  for (Eigen::Index t = 0; t < n; ++t) {
    for (std::uint32_t i = 0; i < dim; ++i) turned(t, i) -= mean[i];
    const float gain = std::sqrt(turned.row(t).squaredNorm() / static_cast<float>(dim));
    for (std::uint32_t i = 0; i < dim; ++i) turned(t, i) *= gain > 0 ? weight[i] / gain : 0.0f;
  }
  return {turned.data(), turned.data() + turned.size()};
}

}  // namespace cairn::train
