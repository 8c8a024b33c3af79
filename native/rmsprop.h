/* The C interface of the kernel: segments of memory, a rule and a way to run in parallel. */
#ifndef RMSPROP_H
#define RMSPROP_H

#include <stdint.h>

#if defined(_WIN32)
#define RMSPROP_EXPORT __declspec(dllexport)
#else
#define RMSPROP_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What parameters and gradients are stored as. Updates work in float64 for float64 and in float32 for the others. */
enum { RMSPROP_FLOAT32, RMSPROP_FLOAT64, RMSPROP_FLOAT16, RMSPROP_BFLOAT16, RMSPROP_DTYPES };
/* RMSPROP_CAUTIOUS: decoupled where the update does not move a parameter away from 0.
   RMSPROP_WITH_QUOTIENT: weight_decay times the parameter is added to the quotient, where the step is averaged. */
enum { RMSPROP_NO_WEIGHT_DECAY, RMSPROP_L2, RMSPROP_DECOUPLED, RMSPROP_CAUTIOUS, RMSPROP_WITH_QUOTIENT };
/* How parameters of 16 bits are rounded: to the nearest, by random bits, or to the nearest with the rest kept. */
enum { RMSPROP_NEAREST, RMSPROP_STOCHASTIC, RMSPROP_KAHAN };
/* What state is stored as: in the precision in which updates work, or rounded by random bits: to bfloat16, or to codes
 * of 8 bits, with a scale of 16 bits for every 128 numbers; the latter two not for float64. */
enum { RMSPROP_UNPACKED, RMSPROP_PACKED_BFLOAT16, RMSPROP_PACKED_8BIT };
enum { RMSPROP_RESTS = -1 };

/* One update: the numbers are rounded to the working precision once, here. rmsprop_layout tells where each one is. */
typedef struct {
  double lr;
  double grad_scale; /* negative to maximize */
  double gain;       /* share of the new value in an average */
  double keep;       /* share of the old one */
  double eps_inside; /* under the root, or 0 */
  double eps_outside;
  double momentum;      /* share of the old buffer */
  double momentum_loss; /* 1 - momentum */
  double momentum_gain; /* what the buffer takes of a quotient: 1, or its share in an average */
  double weight_decay;  /* times lr unless l2 */
  double max_grad;      /* the largest magnitude of a scaled gradient, or infinity */
  double max_quotient;  /* the largest magnitude of a quotient, or infinity */
  double is_first;      /* 1 where averages of squares begin with the square of this gradient, else 0 */
  double share;         /* of the iterate in the average of all, where averages */
  double average_lr;    /* what the parameter moves by there, where the iterate moves by lr */
  int32_t new_is_base;  /* write averages as new + keep * (old - new) */
  int32_t centered;
  int32_t has_momentum;
  int32_t short_momentum; /* write the buffer as momentum * old + new */
  int32_t nesterov;
  int32_t lr_in_momentum; /* the buffer collects lr * u; only with momentum */
  int32_t weight_decay_mode;
  int32_t delayed;  /* divide by the average of before */
  int32_t limits;   /* whether there is a max_grad or a max_quotient, or the batch has update_scales */
  int32_t averages; /* schedule-free: has_momentum, but each buffer is the iterate that the parameter averages */
  int32_t caution;  /* take no step against a gradient, but the batch's agreement_scales times the others */
} rmsprop_rule;

/* DLPack's DLDevice. */
typedef struct {
  int32_t type; /* 1: the CPU, 2: CUDA, 10: ROCm */
  int32_t id;
} rmsprop_device;

/* A sum of squares: whole multiples of fixed places, in two words per limb, and how many blocks of numbers had none. */
enum { RMSPROP_LIMBS = 50 };
typedef struct {
  int64_t limbs[RMSPROP_LIMBS][2]; /* limb k counts 2^(40·(k - 25)), its second word 2^32 of those */
  int64_t infinities;              /* a square of 2^999 and above is one */
  int64_t nans;
} rmsprop_squares;

/* Tensors that share a device, a rule and a storage type. Entry i of each table belongs to tensor i. */
typedef struct {
  rmsprop_rule rule;
  int32_t dtype;
  rmsprop_device device; /* where the tensors are; rmsprop_update takes those on the CPU alone */
  int32_t equal_steps;   /* rmsprop_bind is to see to it that all tensors in this update have taken equally many */
  int64_t count;
  int64_t* sizes; /* numbers per tensor, RMSPROP_RESTS for one that takes no part; a complex number counts twice */
  void** params;
  void** grads;
  void** spreads;     /* square_avg, or grad_var when centered */
  void** means;       /* grad_avg; unused unless centered */
  void** buffers;     /* momentum_buffer, or the iterate when the rule averages; unused without momentum */
  void** steps;       /* how many updates each has taken, a float or a double on the CPU; null where others count */
  int32_t wide_steps; /* whether they are doubles */
  double step;        /* what rmsprop_bind read from the first that takes part */
  int32_t rounding;
  uint64_t seed; /* of the random bits; with the number of the update, so steps are needed too */
  const int64_t*
      places;  /* for random bits, four per tensor: the number of the parameter, the index of its first element
                  in the whole of it, the length of a run of elements, how far the next one begins from it */
  void** lost; /* what rounding took off each parameter, stored as it is; unused but with RMSPROP_KAHAN */
  const double* update_scales;    /* what the quotient of each tensor is multiplied with; null: nothing */
  const double* agreement_scales; /* what its steps are multiplied with that agree with their gradient; null: nothing */
  const int64_t* unit_sizes;      /* the numbers of each tensor that share a norm, one behind the other */
  double* const* unit_scales; /* per tensor, what the gradient of each of its units is multiplied with; null: nothing */
  int32_t packing;            /* of the state; what is rounded by random bits needs seed, steps and places too */
  void** spread_scales;       /* those of codes of 8 bits, unused without */
  void** mean_scales;
  void** buffer_scales;
} rmsprop_batch;

/* Stretches of memory, in the order of their beginnings; ends never decrease. */
typedef struct {
  int64_t count;
  const uint64_t* begins;
  const uint64_t* ends;
} rmsprop_stretches;

/* DLPack's DLTensor, the common description of an array in memory. */
typedef struct {
  void* data;
  rmsprop_device device;
  int32_t ndim;
  struct {
    uint8_t code, bits;
    uint16_t lanes;
  } dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
} rmsprop_dltensor;

/* DLPack's DLPackDLTensorFromPyObjectNoSync: describes a tensor object of a framework, returns 0 if it could. */
typedef int32_t (*rmsprop_describe)(void* object, rmsprop_dltensor* out);

enum { RMSPROP_BOUND = -1, RMSPROP_NOT_DESCRIBED = -2 };
/* Looks at tensor objects before an update: writes where gradients are, and which tensors take part. Everything else
 * must lie where the tables say. objects holds `count` params, then as many grads, spreads, means and buffers where the
 * rule has them, the scales of each of those, lost and steps where the batch has them; a gradient that is `none` lets
 * its tensor rest. Checked of each: its device, its storage type, that it is dense, in the memory order of its
 * parameter, and where the tables say; of a gradient that it lies in none of the stretches that are written to; of a
 * step that it can count one more. With steps_stay the objects of steps are not looked at: they are certain to lie
 * where the tables say. Returns RMSPROP_BOUND, the position in objects of the first that does not fit, or
 * RMSPROP_NOT_DESCRIBED if describe failed. */
RMSPROP_EXPORT int64_t rmsprop_bind(rmsprop_batch* batch, void* const* objects, const void* none,
                                    rmsprop_describe describe, const rmsprop_stretches* written, int32_t steps_stay);

typedef void (*rmsprop_body)(int64_t begin, int64_t end, void* context);
/* Calls body on disjoint ranges that cover [begin, end), none shorter than grain unless it is the only one;
 * returns 0, or anything else if it could not. torch_parallel_for is one. */
typedef int32_t (*rmsprop_parallel_for)(int64_t begin, int64_t end, int64_t grain, rmsprop_body body, void* context);

/* Updates all batches in one parallel region and counts the step. Without parallel_for it uses up to `threads` threads
 * of its own. Returns 0, or what parallel_for returned. */
RMSPROP_EXPORT int32_t rmsprop_update(const rmsprop_batch* const* batches, int64_t count,
                                      rmsprop_parallel_for parallel_for, int32_t threads);
/* Adds the squares of all gradients of some batches to a sum, on threads as rmsprop_update does. The sum doesn't depend
 * on how the work is shared. Returns 0, or what parallel_for returned. */
RMSPROP_EXPORT int32_t rmsprop_add_squares(const rmsprop_batch* const* batches, int64_t count,
                                           rmsprop_parallel_for parallel_for, int32_t threads, rmsprop_squares* sum);

/* Adds the squares of the quotients g / denominator that an update of one batch would compute, unscaled, to a sum per
 * tensor; changes nothing else. Returns 0, or what parallel_for returned. */
RMSPROP_EXPORT int32_t rmsprop_measure_updates(const rmsprop_batch* batch, rmsprop_parallel_for parallel_for,
                                               int32_t threads, rmsprop_squares* sums);

/* Writes to the unit_scales of one batch what clips the gradient of each unit to max_ratio times the norm of its
 * parameters. Returns 0, or what parallel_for returned. */
RMSPROP_EXPORT int32_t rmsprop_scale_units(const rmsprop_batch* batch, double max_ratio,
                                           rmsprop_parallel_for parallel_for, int32_t threads);

/* Counts in each tensor the elements whose step, as an update of one batch would take it, agrees with its gradient;
 * adds to counts and changes nothing else. Returns 0, or what parallel_for returned. */
RMSPROP_EXPORT int32_t rmsprop_count_agreements(const rmsprop_batch* batch, rmsprop_parallel_for parallel_for,
                                                int32_t threads, int64_t* counts);

/* Counts a step of every tensor that takes part in a batch which somebody else updates. */
RMSPROP_EXPORT void rmsprop_count(const rmsprop_batch* batch);

/* Gradients of some rows of a table, and what averages of rows became in steps that had none for them
 * (src/rmsprop/rows.py, src/rmsprop/decays.py). Rows that share scales of packed state are a unit: what touches one
 * touches all. */
enum { RMSPROP_POWERS = 31 };
typedef struct {
  int64_t count;    /* rows of the table */
  int64_t width;    /* numbers in each; a complex one counts twice */
  int64_t per_unit; /* rows, a power of two */
  int32_t* last;    /* per unit the step to which its averages are up to date */
  int64_t now;      /* the step to which they are brought before anything else */
  int64_t entries;
  const int64_t* indices; /* per entry its row, from 0 to count - 1; the values stand in the batch as gradient */
  int64_t segments;       /* of steps that decay alike, each beginning where the one before ends, the last up to now */
  const int64_t* begins;  /* the step before the first of each */
  const int32_t* corrected; /* whether averages are bias-corrected there */
  const double* kept;       /* per segment RMSPROP_POWERS numbers: what 1, 2, 4, ... steps leave of an average */
  const double* lost;       /* and what they don't */
  const double* later_kept; /* per segment what all later ones leave */
  const double* later_lost;
  int64_t chosen;            /* how many units rmsprop_settle_rows brings to date, which `units` names, or -1: all */
  const int64_t* units;      /* no two of them alike */
  int64_t drift_begin;       /* a step; what follows has an entry for it and for each later one up to now, */
  const double* drift_kept;  /* of what the steps since then make of a row without a gradient (src/rmsprop/drift.py): */
  const double* drift_taken; /* kept * parameter - taken * buffer */
  const double* drift_left;  /* and left * buffer; null: such rows don't move */
  int32_t rowwise;    /* whether spreads hold one average per row (src/rmsprop/rowwise.py): nothing decays but rows that
                         are touched, and `last`, which may be null, is when that was, or 0 */
  double stale_decay; /* what a row loses of itself then for each step since; only with `last` */
} rmsprop_rows;

/* Updates the rows that have entries in the one tensor of a batch, and counts a step: gradients of one row are added
 * up, averages brought to `now`, and then updated. Returns 0, what parallel_for returned, or RMSPROP_NO_MEMORY; nothing
 * was changed then. */
enum { RMSPROP_NO_MEMORY = -3 };
RMSPROP_EXPORT int32_t rmsprop_update_rows(const rmsprop_batch* batch, const rmsprop_rows* rows,
                                           rmsprop_parallel_for parallel_for, int32_t threads);
/* Brings the averages of all rows of the one tensor of a batch to `now`; counts no step. Returns as the above. */
RMSPROP_EXPORT int32_t rmsprop_settle_rows(const rmsprop_batch* batch, const rmsprop_rows* rows,
                                           rmsprop_parallel_for parallel_for, int32_t threads);
/* Returns 1 if each of so many numbers is that of one of `rows` rows, which are counted from 0; else 0. */
RMSPROP_EXPORT int32_t rmsprop_are_rows(const int64_t* numbers, int64_t count, int64_t rows);

/* The instruction set in use: "avx512", "avx2", "baseline". */
RMSPROP_EXPORT const char* rmsprop_instruction_set(void);
/* Chooses one by name; returns 0, or 1 if this machine or this build has none of that name. */
RMSPROP_EXPORT int32_t rmsprop_use_instruction_set(const char* name);

/* "name:offset" of every field of rmsprop_rule and rmsprop_batch, in bytes, for callers that declare the structs
 * themselves; a struct's own name stands for its size. */
RMSPROP_EXPORT const char* rmsprop_layout(void);

#ifdef __cplusplus
}
static_assert(sizeof(void*) == 8, "callers fill the tables with addresses of 8 bytes");
#endif
#endif
