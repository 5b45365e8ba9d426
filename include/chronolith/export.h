// Marks what the shared library exports; everything else has hidden visibility.
#ifndef CHRONOLITH_EXPORT_H_
#define CHRONOLITH_EXPORT_H_

#define CHRONOLITH_EXPORT __attribute__((visibility("default")))

#endif  // CHRONOLITH_EXPORT_H_
