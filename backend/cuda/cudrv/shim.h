#ifndef MITO_CUDRV_SHIM_H
#define MITO_CUDRV_SHIM_H

// cudrv_status returns the CUresult of loading and initialising the driver.
int cudrv_status(void);
// cudrv_reason says why the status is not zero.
const char *cudrv_reason(void);
// cudrv_has tells whether the driver has an entry point.
int cudrv_has(const char *name);

#endif
