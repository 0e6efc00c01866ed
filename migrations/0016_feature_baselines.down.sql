DROP TABLE features.health_baselines;
