/* Clusters that XNNPACK itself runs sparse on ARM: a 3x3 stride-2 convolution of a picture, then only operators that have
 * a channel-major kernel, up to a global pooling. Taking one convolution out of such a cluster makes XNNPACK run the
 * rest of it dense, so the choice is per cluster. */
#ifndef ES_CLUSTER_H
#define ES_CLUSTER_H

#include "graph.h"

typedef struct es_clusters {
    int count;
    int *of;                /* of each node in the plan: its cluster, -1: none */
} es_clusters;

/* Finds those whose 1x1 convolutions get sparse weights through DENSIFY. False: memory is exhausted. */
bool es_clusters_find(const es_graph *graph, es_clusters *clusters);
void es_clusters_free(es_clusters *clusters);

#endif
