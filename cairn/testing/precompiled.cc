// SPDX-License-Identifier: Apache-2.0
// Empty: the target that the tests' precompiled headers belong to needs a source.
