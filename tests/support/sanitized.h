// Whether this build is sanitized: random tests do less there, since each step costs ten times as much.
#ifndef CHRONOLITH_TESTS_SUPPORT_SANITIZED_H_
#define CHRONOLITH_TESTS_SUPPORT_SANITIZED_H_

namespace chronolith::testing_support {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_SANITIZED_H_
