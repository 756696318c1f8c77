/** Labels with this prefix, and `containerd.io/snapshot.ref`, are handed to drivers. */
export const driverLabelPrefix = 'containerd.io/snapshot/'

/** `CONTAINER:HOST:SIZE[,…]`: how user ids inside the container are numbered outside. */
export const uidMappingLabel = 'containerd.io/snapshot/uidmapping'
/** The same for group ids. */
export const gidMappingLabel = 'containerd.io/snapshot/gidmapping'
