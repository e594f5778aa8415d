/* vmfam_names.h - names of what libvmfam shares with other parts of vmstep
 *
 * Before all else in each of its sources: a static library hides no names, and
 * those of a program that uses it are its own.
 */
#ifndef VMFAM_NAMES_H
#define VMFAM_NAMES_H

#define errmsg_prefix	 vmfam_errmsg_prefix
#define errmsg_say	 vmfam_errmsg_say
#define errmsg_set	 vmfam_errmsg_set
#define memword_apply	 vmfam_memword_apply
#define memword_check	 vmfam_memword_check
#define memword_ops	 vmfam_memword_ops
#define memword_size	 vmfam_memword_size
#define memword_types	 vmfam_memword_types
#define param_bool	 vmfam_param_bool
#define param_bytes	 vmfam_param_bytes
#define param_decode_b64 vmfam_param_decode_b64
#define param_encode_b64 vmfam_param_encode_b64
#define param_from_bytes vmfam_param_from_bytes
#define param_from_text	 vmfam_param_from_text
#define param_int	 vmfam_param_int
#define param_text	 vmfam_param_text
#define param_value_text vmfam_param_value_text
#define param_word	 vmfam_param_word

#endif
