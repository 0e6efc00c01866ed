DROP VIEW text000.feature_vectors, text000.latest_feature_values, text000.feature_values, text000.features, text000.entities;
DROP FUNCTION text000.insert_feature_vector, text000.insert_feature_value, text000.insert_feature, text000.insert_entity;
DROP FUNCTION features.write_row, features.declare_view;
DROP TRIGGER latest_entities ON features.latest;
DROP FUNCTION features.note_new_entities, features.note_entities, features.entity_id;
DROP TABLE features.entity_ids;
-- The release before does not know of vectors.
DELETE FROM features.view_features WHERE value_type = 'vector';
ALTER TABLE features.view_features DROP COLUMN vector_length, DROP COLUMN vector_search_metric;
ALTER TABLE features.feature_views DROP COLUMN entity_type;
